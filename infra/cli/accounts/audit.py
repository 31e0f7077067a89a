"""`vestnik audit`: logins, their devices, and when and why sessions ended, read from the stream."""

import asyncio
import csv
import io
import logging
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from datetime import datetime
from typing import TextIO

import click
import msgspec
from nats.aio.client import Client as NATS

from contracts import catalogue
from contracts.envelope import now
from contracts.values.ids import is_id
from contracts.values.timestamps import rfc3339
from infra.cli.accounts.user_lookup import NoSuchUser, events_of
from infra.cli.output.terminal_text import printable
from infra.cli.params import Moment
from infra.history.login_audit import LoginAudit, Query, Row, Unreadable, audit_rows
from infra.runtime.connections import connect_nats
from infra.runtime.run_file import find
from infra.settings import Settings
from services.operator.history.aggregate_history import AggregateHistory
from services.operator.history.aggregate_kinds import KINDS
from streams.log import Log

_PATIENCE = 5.0
_COLUMNS = Row.__struct_fields__
_WIDTHS = {"at": 24, "event": 17, "username": 18, "session_id": 36, "address": 18, "device": 24, "reason": 0}
# Beginnings of a cell that a spreadsheet interprets as a formula.
_FORMULA = ("=", "+", "-", "@")


@click.group()
def audit() -> None:
    """Shows security-relevant events of accounts."""


@audit.command()
@click.option("--user", metavar="USER", help="Only this user: an id or a username.")
@click.option("--session", "session_id", metavar="ID", help="Only this session's, read without the rest of the stream.")
@click.option("--since", type=Moment(), help="From this time on: RFC 3339, or `7d` for seven days ago.")
@click.option("--until", type=Moment(), help="Before this time.")
@click.option("--refreshes", is_flag=True, help="Show refreshes too, not only logins and ends.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
@click.option("--csv", "as_csv", is_flag=True, help="Print comma-separated values with a header.")
def sessions(
    user: str | None,
    session_id: str | None,
    since: datetime | None,
    until: datetime | None,
    refreshes: bool,
    as_json: bool,
    as_csv: bool,
) -> None:
    """Shows every login and every end of a session, in order of time.

    The reason of an end is logout, revoked_elsewhere, refresh_token_reused, password_changed, password_reset, expired,
    or `operator NAME: NOTE`. Device and address are those of the login.
    """
    if as_json and as_csv:
        raise click.UsageError("--json and --csv cannot be combined")
    session_id = None if session_id is None else session_id.lower()
    if session_id is not None and not is_id(session_id):
        raise click.BadParameter(f"{session_id!r} is no session's id", param_hint="--session")
    user = None if user is None else user.strip().lower()
    query = Query(user=user, since=since, until=until, refreshes=refreshes)
    render, header = (_json, "") if as_json else (_csv, _csv_line(_COLUMNS)) if as_csv else (_line, _HEADER)
    asyncio.run(_run(Settings.load(), query, session_id, sys.stdout, render, header))


async def _run(
    settings: Settings,
    query: Query,
    session_id: str | None,
    output: TextIO,
    render: Callable[[Row], str],
    header: str,
) -> None:
    url = settings.nats_url or find(settings.data_dir).nats_url
    settings = msgspec.structs.replace(settings, nats_url=url)
    nc = await connect_nats(settings, "operator-audit", patience=_PATIENCE)
    any_rows = False
    try:
        async with aclosing(audit_rows(nc, query) if session_id is None else _session(nc, query, session_id)) as pages:
            async for page in pages:
                if page:
                    output.write(header + "".join(map(render, page)))
                    output.flush()
                    header, any_rows = "", True
        if query.user is not None and not any_rows:
            _, events = await events_of(Log(nc, patience=_PATIENCE), settings, query.user)
            if not events:
                raise NoSuchUser(query.user)
        output.write(header)
    finally:
        # The connection ends with the command: no warning is needed.
        logging.getLogger("infra.runtime.connections").setLevel(logging.ERROR)
        await nc.close()


async def _session(nc: NATS, query: Query, session_id: str) -> AsyncGenerator[list[Row], None]:
    """Yields the audit of one session.

    Raises:
        OperatorError: there is no such session.
        Unreadable: at the end, if events could not be read.
    """
    history = AggregateHistory(KINDS["session"], session_id, nc, asyncio.get_running_loop())
    trail, unreadable = LoginAudit(query), list[str]()

    def rows() -> list[Row]:
        shown: list[Row] = []
        for version in history.versions(last=sys.maxsize, redacted=False):
            event = version.event
            if version.error is not None:
                unreadable.append(f"{event.stream} {event.sequence}")
                continue
            shown += trail.add(
                session_id, catalogue.decode(event.type, event.schema, event.data), event.at, event.actor
            )
        return [*shown, *trail.expired_rows(min(now(), query.until or now()))]

    yield [row for row in await asyncio.to_thread(rows) if query.wants(row)]
    if unreadable:
        raise Unreadable(unreadable)


def _json(row: Row) -> str:
    return msgspec.json.encode({**msgspec.structs.asdict(row), "at": rfc3339(row.at)}).decode() + "\n"


def _csv(row: Row) -> str:
    return _csv_line([_cell(_shown(value)) for value in msgspec.structs.astuple(row)])


def _csv_line(cells: object) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(cells)  # type: ignore[arg-type]  # any iterable
    return line.getvalue()


def _line(row: Row) -> str:
    return _columns({name: _shown(getattr(row, name)) for name in _WIDTHS})


def _columns(values: dict[str, str]) -> str:
    return "  ".join(f"{values[name]:<{width}}" for name, width in _WIDTHS.items()).rstrip() + "\n"


def _shown(value: object) -> str:
    """The value as printable text, since a device's name comes from the client."""
    if isinstance(value, datetime):
        return rfc3339(value)
    return "" if value is None else printable(str(value))


def _cell(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text


_HEADER = _columns({name: name.upper() for name in _WIDTHS})
