"""`vestnik audit operators`: who did what, and who looked at what, as an operator; read from the stream."""

import asyncio
import logging
import sys
from datetime import datetime

import click
import msgspec

from contracts.events.operator_actions import ACTIONS, LOOKS
from contracts.subjects import OPERATOR
from contracts.values.timestamps import rfc3339
from infra.cli.accounts.audit_rows import warn_of_losses
from infra.cli.actions.recording import look
from infra.cli.output.line_formats import aligned, csv_line, headed, shown
from infra.cli.params import Moment
from infra.cli.reader_connection import connect_reader
from infra.history.login_audit import Unreadable
from infra.history.operator_audit import Audit, Query, Row, audit_rows
from infra.runtime.run_file import find
from infra.security.operator_accounts import Operators
from infra.settings import Settings

_PATIENCE = 5.0
_WIDTHS = {"at": 24, "operator": 16, "address": 18, "what": 22, "target": 36, "outcome": 10, "reason": 0}
_COLUMNS = (
    "at",
    "operator",
    "operator_id",
    "channel",
    "address",
    "action",
    "what",
    "target",
    "details",
    "filter",
    "reason",
    "outcome",
    "error",
)
_EVERY = sorted({*ACTIONS, *LOOKS})


@click.command()
@click.option("--operator", metavar="NAME", help="Only this operator's: a username, a login name, or an account's id.")
@click.option("--action", type=click.Choice(_EVERY), metavar="NAME", help="Only this act or look.")
@click.option("--since", type=Moment(), help="From this time on: RFC 3339, or `7d` for seven days ago.")
@click.option("--until", type=Moment(), help="Before this time.")
@click.option("--acts", "only_acts", is_flag=True, help="Only what was done.")
@click.option("--looks", "only_looks", is_flag=True, help="Only what was looked at.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
@click.option("--csv", "as_csv", is_flag=True, help="Print comma-separated values with a header.")
def operators(
    operator: str | None,
    action: str | None,
    since: datetime | None,
    until: datetime | None,
    only_acts: bool,
    only_looks: bool,
    as_json: bool,
    as_csv: bool,
) -> None:
    """Shows every act and every look of the operators, in order of time: through the page or the command line.

    An act was recorded before it was done. Its outcome is done, failed or cancelled; an open one is under way, or was
    interrupted and may have taken effect. The same look of an operator is recorded once in ten minutes. This command
    is a look, too.
    """
    if as_json and as_csv:
        raise click.UsageError("--json and --csv cannot be combined")
    if only_acts and only_looks:
        raise click.UsageError("--acts and --looks cannot be combined")
    query = Query(
        operator=operator,
        action=action,
        since=since,
        until=until,
        acts=not only_looks,
        looks=not only_acts,
    )
    audit = asyncio.run(_run(Settings.load(), query))
    if as_json:
        sys.stdout.write("".join(map(_json, audit.rows)))
    elif as_csv:
        sys.stdout.write(csv_line(_COLUMNS) + "".join(map(_csv, audit.rows)))
    else:
        sys.stdout.write(headed(_WIDTHS) + "".join(map(_line, audit.rows)))
    if audit.unreadable:
        raise Unreadable(audit.unreadable)


async def _run(settings: Settings, query: Query) -> Audit:
    url = settings.nats_url or find(settings.data_dir).nats_url
    nc = await connect_reader(msgspec.structs.replace(settings, nats_url=url), "operator-audit", patience=_PATIENCE)
    looked_for = {
        "operator": Operators(settings.secrets_path).id_of(query.operator) if query.operator else "",
        "action": query.action or "",
        "only": "" if query.acts and query.looks else "acts" if query.acts else "looks",
        "since": rfc3339(query.since) if query.since else "",
        "until": rfc3339(query.until) if query.until else "",
    }
    try:
        await look(settings, nc, "operators", filter_=looked_for)
        await warn_of_losses(nc, (OPERATOR,))
        return await audit_rows(nc, query)
    finally:
        # The connection ends with the command: no warning is needed.
        logging.getLogger("infra.runtime.connections").setLevel(logging.ERROR)
        await nc.close()


def _json(row: Row) -> str:
    return msgspec.json.encode({**msgspec.to_builtins(row), "at": rfc3339(row.at)}).decode() + "\n"


def _csv(row: Row) -> str:
    return csv_line(getattr(row, name) for name in _COLUMNS)


def _line(row: Row) -> str:
    values = {name: shown(getattr(row, name)) for name in _WIDTHS}
    more = shown(row.details or row.filter)
    values["what"] = row.action or f"looks: {row.what}"
    values["target"] = " ".join(part for part in (values["target"], more) if part)
    values["outcome"] = "" if row.what else row.outcome or "open"
    values["reason"] = ": ".join(part for part in (values["reason"], shown(row.error)) if part)
    return aligned(values, _WIDTHS)
