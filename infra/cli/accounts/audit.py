"""`vestnik audit`: logins, their devices, and when and why sessions ended, read from the stream."""

import asyncio
import logging
import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import datetime
from typing import TextIO, get_args

import click
import msgspec
from nats.aio.client import Client as NATS

from contracts import catalogue
from contracts.envelope import now
from contracts.events.login_failure import FailureReason
from contracts.notification_kinds import ALERT_KINDS
from contracts.subjects import AUTH, SESSION
from contracts.values.addresses import Network, parse_network
from contracts.values.ids import is_id
from contracts.values.timestamps import rfc3339
from infra.cli.accounts.audit_anomalies import anomalies
from infra.cli.accounts.audit_operators import operators
from infra.cli.accounts.audit_prove import prove
from infra.cli.accounts.audit_rows import Format, comma_separated, json_lines, table, warn_of_losses
from infra.cli.accounts.audit_verify import verify
from infra.cli.accounts.user_lookup import NoSuchUser, events_of, recorded_as
from infra.cli.actions.recording import look
from infra.cli.params import Moment
from infra.cli.reader_connection import connect_reader
from infra.history.account_alerts import alert_rows
from infra.history.failed_logins import failure_rows, merged
from infra.history.login_audit import ENDS, LoginAudit, Query, Row, Unreadable, audit_rows, with_operators
from infra.history.login_summary import LoginSummary
from infra.history.usernames import Usernames
from infra.runtime.run_file import find
from infra.settings import Settings
from services.operator.history.aggregate_history import AggregateHistory
from services.operator.history.aggregate_kinds import KINDS
from streams.log import Log

_PATIENCE = 5.0
_FAILURES: tuple[str, ...] = get_args(FailureReason)
# Some alerts are about ends, with the same reason.
_ONLY_ALERTS = tuple(kind for kind in ALERT_KINDS if kind not in ENDS)
_REASONS = sorted((*ENDS, *_FAILURES, *_ONLY_ALERTS))


class _Network(click.ParamType[Network]):
    """An IP address or a network, `192.0.2.0/24`."""

    name = "address"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Network:
        network = parse_network(str(value).strip())
        if network is None:
            self.fail(f"{value!r} is neither an IP address nor a network such as 192.0.2.0/24", param, ctx)
        return network


@click.group()
def audit() -> None:
    """Shows security-relevant events of accounts, and proves that no event was changed."""


audit.add_command(anomalies)
audit.add_command(operators)
audit.add_command(prove)
audit.add_command(verify)


@audit.command()
@click.option("--user", metavar="USER", help="Only this user: an id or a username.")
@click.option("--session", "session_id", metavar="ID", help="Only this session's, read without the rest of the stream.")
@click.option("--since", type=Moment(), help="From this time on: RFC 3339, or `7d` for seven days ago.")
@click.option("--until", type=Moment(), help="Before this time.")
@click.option("--address", "network", type=_Network(), help="Only from this address, or network: `192.0.2.0/24`.")
@click.option("--device", metavar="TEXT", help="Only devices whose description contains this, in any case.")
@click.option(
    "--reason",
    type=click.Choice(_REASONS, case_sensitive=False),
    metavar="REASON",
    help="Only ends, failed logins and alerts for this reason.",
)
@click.option("--refreshes", is_flag=True, help="Show refreshes too, not only logins and ends.")
@click.option("--failures", is_flag=True, help="Show failed logins too.")
@click.option("--alerts", is_flag=True, help="Show what the owners of the accounts were alerted to, too.")
@click.option("--summary", is_flag=True, help="Count by day and reason, failed logins too, instead of listing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
@click.option("--csv", "as_csv", is_flag=True, help="Print comma-separated values with a header.")
def sessions(
    user: str | None,
    session_id: str | None,
    since: datetime | None,
    until: datetime | None,
    network: Network | None,
    device: str | None,
    reason: str | None,
    refreshes: bool,
    failures: bool,
    alerts: bool,
    summary: bool,
    as_json: bool,
    as_csv: bool,
) -> None:
    """Shows every login and every end of a session, in order of time.

    The reason of an end is logout, revoked_elsewhere, refresh_token_reused, password_changed, password_reset, not_me,
    erasure_requested, account_erased, expired, or `operator NAME: NOTE`, which `--reason operator` finds. Device and
    address are those of the login.

    The reason of a failed login is wrong_password, unknown_login, email_not_verified, wrong_code, code_required or
    rate_limited. A failed login has no session; after many in an hour a line stands for several.

    The reason of an alert is its kind: new_device, password_changed, password_reset, email_changed,
    refresh_token_reused, two_factor_on, two_factor_off, data_export or erasure_requested.
    """
    if as_json and as_csv:
        raise click.UsageError("--json and --csv cannot be combined")
    session_id = None if session_id is None else session_id.lower()
    if session_id is not None and not is_id(session_id):
        raise click.BadParameter(f"{session_id!r} is no session's id", param_hint="--session")
    if session_id is not None and failures:
        raise click.UsageError("--session and --failures cannot be combined: a failed login has no session")
    if session_id is not None and alerts:
        raise click.UsageError("--session and --alerts cannot be combined: alerts are about an account")
    failures = failures or (summary and session_id is None)
    if reason in _FAILURES and not failures:
        raise click.UsageError(f"{reason} is the reason of a failed login: add --failures")
    if reason in _ONLY_ALERTS and not alerts:
        raise click.UsageError(f"{reason} is the kind of an alert: add --alerts")
    query = Query(
        user=None if user is None else user.strip().lower(),
        since=since,
        until=until,
        refreshes=refreshes,
        network=network,
        device=device,
        reason=reason,
    )
    form = json_lines() if as_json else comma_separated(counts=failures) if as_csv else table()
    selection = _Selection(query=query, session_id=session_id, failures=failures, alerts=alerts, summary=summary)
    asyncio.run(_run(Settings.load(), selection, sys.stdout, form))


class _Selection(msgspec.Struct, frozen=True, kw_only=True):
    """What to print."""

    query: Query
    session_id: str | None
    failures: bool
    alerts: bool
    summary: bool


async def _asked(nc: NATS, settings: Settings, selection: _Selection) -> dict[str, str]:
    """The query in the form in which the look is recorded."""
    query = selection.query
    return {
        "user": await recorded_as(Log(nc, patience=_PATIENCE), settings, query.user) if query.user else "",
        "address": str(query.network or ""),
        "device": query.device or "",
        "reason": query.reason or "",
        "failures": "yes" if selection.failures else "",
        "alerts": "yes" if selection.alerts else "",
        "refreshes": "yes" if query.refreshes else "",
        "since": rfc3339(query.since) if query.since else "",
        "until": rfc3339(query.until) if query.until else "",
    }


async def _run(settings: Settings, selection: _Selection, output: TextIO, form: Format) -> None:
    url = settings.nats_url or find(settings.data_dir).nats_url
    settings = msgspec.structs.replace(settings, nats_url=url)
    nc = await connect_reader(settings, "operator-audit", patience=_PATIENCE)
    summary, header, any_rows = LoginSummary(), form.header, False
    try:
        looked_for = await _asked(nc, settings, selection)
        await look(settings, nc, "sessions", target=selection.session_id or "", filter_=looked_for)
        async with aclosing(await _rows(nc, settings, selection)) as pages:
            async for page in pages:
                any_rows = any_rows or bool(page)
                if selection.summary:
                    summary.add(page)
                elif page:
                    output.write(header + "".join(map(form.of_row, page)))
                    output.flush()
                    header = ""
        if selection.query.user is not None and not any_rows:
            _, events = await events_of(Log(nc, patience=_PATIENCE), settings, selection.query.user)
            if not events:
                raise NoSuchUser(selection.query.user)
        if selection.summary:
            header = form.summary_header + "".join(map(form.of_summary, summary.rows()))
        output.write(header)
        await warn_of_losses(nc, (SESSION, AUTH) if selection.failures else (SESSION,))
    finally:
        # The connection ends with the command: no warning is needed.
        logging.getLogger("infra.runtime.connections").setLevel(logging.ERROR)
        await nc.close()


async def _rows(nc: NATS, settings: Settings, selection: _Selection) -> AsyncGenerator[list[Row], None]:
    """The pages of rows.

    Raises:
        NoSuchUser: failed logins or alerts of a user are wanted whose name no account has.
    """
    query = selection.query
    if selection.session_id is not None:
        return _session(nc, query, selection.session_id)
    if not selection.failures and not selection.alerts:
        return audit_rows(nc, query)
    user_id = None
    if query.user is not None:
        user_id, _ = await events_of(Log(nc, patience=_PATIENCE), settings, query.user)
        if not user_id:
            raise NoSuchUser(query.user)
    sources = [audit_rows(nc, query)]
    if selection.failures:
        sources.append(failure_rows(nc, query, user_id))
    if selection.alerts:
        sources.append(alert_rows(nc, query, user_id))
    return merged(*sources)


async def _session(nc: NATS, query: Query, session_id: str) -> AsyncGenerator[list[Row], None]:
    """Yields the audit of one session.

    Raises:
        OperatorError: there is no such session.
        Unreadable: at the end, if events could not be read.
    """
    history = AggregateHistory(KINDS["session"], session_id, nc, asyncio.get_running_loop())
    trail, unreadable = LoginAudit(query, now()), list[str]()

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

    matching = [row for row in await asyncio.to_thread(rows) if query.wants(row)]
    yield await with_operators(matching, Usernames(Log(nc, patience=_PATIENCE)).of)
    if unreadable:
        raise Unreadable(unreadable)
