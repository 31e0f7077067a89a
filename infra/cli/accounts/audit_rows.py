"""Rows of the login audit and its summary as text: a table, JSON or CSV."""

import csv
import io
from collections.abc import Callable, Iterable
from datetime import datetime

import msgspec

from contracts.values.timestamps import rfc3339
from infra.cli.output.terminal_text import printable
from infra.history.login_audit import Row
from infra.history.login_summary import SummaryRow

_COUNT = "count"
_COLUMNS = tuple(name for name in Row.__struct_fields__ if name != _COUNT)
_WIDTHS = {"at": 24, "event": 17, "username": 18, "session_id": 36, "address": 18, "device": 24, "reason": 0}
_SUMMARY_COLUMNS = SummaryRow.__struct_fields__
_SUMMARY_WIDTHS = {"day": 10, "event": 17, "reason": 24, "count": 0}
# Beginnings of a cell that a spreadsheet interprets as a formula.
_FORMULA = ("=", "+", "-", "@")


class Format(msgspec.Struct, frozen=True):
    """How rows are printed: once the header, then a text for each row."""

    header: str
    of_row: Callable[[Row], str]
    summary_header: str
    of_summary: Callable[[SummaryRow], str]


def table() -> Format:
    return Format(_headed(_WIDTHS), _line, _headed(_SUMMARY_WIDTHS), _summary_line)


def json_lines() -> Format:
    return Format("", _json, "", lambda row: msgspec.json.encode(row).decode() + "\n")


def comma_separated(*, counts: bool) -> Format:
    """`counts`: whether there is a column for the number of failed logins."""
    columns = (*_COLUMNS, _COUNT) if counts else _COLUMNS
    return Format(
        _csv_line(columns),
        lambda row: _csv_line(_cell(getattr(row, name)) for name in columns),
        _csv_line(_SUMMARY_COLUMNS),
        lambda row: _csv_line(_cell(getattr(row, name)) for name in _SUMMARY_COLUMNS),
    )


def _json(row: Row) -> str:
    shown = {name: getattr(row, name) for name in _COLUMNS} | {"at": rfc3339(row.at)}
    if row.count is not None:
        shown[_COUNT] = row.count
    return msgspec.json.encode(shown).decode() + "\n"


def _line(row: Row) -> str:
    values = {name: _shown(getattr(row, name)) for name in _WIDTHS}
    if row.count is not None and row.count > 1:
        values["reason"] += f" x{row.count}"
    return _aligned(values, _WIDTHS)


def _summary_line(row: SummaryRow) -> str:
    return _aligned({name: _shown(getattr(row, name)) for name in _SUMMARY_WIDTHS}, _SUMMARY_WIDTHS)


def _headed(widths: dict[str, int]) -> str:
    return _aligned({name: name.upper() for name in widths}, widths)


def _aligned(values: dict[str, str], widths: dict[str, int]) -> str:
    return "  ".join(f"{values[name]:<{width}}" for name, width in widths.items()).rstrip() + "\n"


def _csv_line(cells: Iterable[str]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue()


def _cell(value: object) -> str:
    text = _shown(value)
    return f"'{text}" if text.startswith(_FORMULA) else text


def _shown(value: object) -> str:
    """The value as printable text, since a device's name comes from the client."""
    if isinstance(value, datetime):
        return rfc3339(value)
    return "" if value is None else printable(str(value))
