"""Rows of the login audit and its summary as text: a table, JSON or CSV."""

from collections.abc import Callable, Iterable

import click
import msgspec
from nats.aio.client import Client as NATS

from contracts.values.timestamps import rfc3339
from infra.cli.output.line_formats import aligned, csv_line, headed, shown
from infra.history.login_audit import Row
from infra.history.login_summary import SummaryRow
from infra.history.lost_events import lost_events
from streams.loss.missing_events import named

_COUNT = "count"
_COLUMNS = tuple(name for name in Row.__struct_fields__ if name != _COUNT)
_WIDTHS = {"at": 24, "event": 17, "username": 18, "session_id": 36, "address": 18, "device": 24, "reason": 0}
_SUMMARY_COLUMNS = SummaryRow.__struct_fields__
_SUMMARY_WIDTHS = {"day": 10, "event": 17, "reason": 24, "count": 0}


class Format(msgspec.Struct, frozen=True):
    """How rows are printed: once the header, then a text for each row."""

    header: str
    of_row: Callable[[Row], str]
    summary_header: str
    of_summary: Callable[[SummaryRow], str]


def table() -> Format:
    return Format(headed(_WIDTHS), _line, headed(_SUMMARY_WIDTHS), _summary_line)


def json_lines() -> Format:
    return Format("", _json, "", lambda row: msgspec.json.encode(row).decode() + "\n")


def comma_separated(*, counts: bool) -> Format:
    """`counts`: whether there is a column for the number of failed logins."""
    columns = (*_COLUMNS, _COUNT) if counts else _COLUMNS
    return Format(
        csv_line(columns),
        lambda row: csv_line(getattr(row, name) for name in columns),
        csv_line(_SUMMARY_COLUMNS),
        lambda row: csv_line(getattr(row, name) for name in _SUMMARY_COLUMNS),
    )


async def warn_of_losses(nc: NATS, streams: Iterable[str]) -> None:
    """Says on standard error which events of these streams are lost, and so missing from an audit.

    Raises:
        Unavailable: NATS does not answer.
    """
    if gaps := await lost_events(nc, streams):
        click.echo(f"the audit is incomplete, these events are lost: {named(gaps)}", err=True)


def _json(row: Row) -> str:
    fields = {name: getattr(row, name) for name in _COLUMNS} | {"at": rfc3339(row.at)}
    if row.count is not None:
        fields[_COUNT] = row.count
    return msgspec.json.encode(fields).decode() + "\n"


def _line(row: Row) -> str:
    values = {name: shown(getattr(row, name)) for name in _WIDTHS}
    if row.count is not None and row.count > 1:
        values["reason"] += f" x{row.count}"
    return aligned(values, _WIDTHS)


def _summary_line(row: SummaryRow) -> str:
    return aligned({name: shown(getattr(row, name)) for name in _SUMMARY_WIDTHS}, _SUMMARY_WIDTHS)
