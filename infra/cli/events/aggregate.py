"""`vestnik aggregate`: shows one aggregate's events and its state after each, read from its stream."""

import asyncio
import logging
import sys
from collections.abc import Callable
from datetime import datetime

import click
import msgspec

from contracts.values.ids import is_id, pair_id
from contracts.values.timestamps import rfc3339
from infra.cli.accounts.user_lookup import NoSuchUser, events_of
from infra.cli.actions.recording import look
from infra.cli.output.event_lines import event_line
from infra.cli.output.terminal_text import printable
from infra.cli.params import Moment
from infra.cli.reader_connection import connect_reader
from infra.runtime.run_file import find
from infra.settings import Settings
from services.operator.history.aggregate_history import AggregateHistory, AggregateVersion
from services.operator.history.aggregate_kinds import KINDS, AggregateKind
from streams.log import Log

_PATIENCE = 5.0
# Parameters of subjects (contracts/subjects.py).
_USER, _PAIR = "user_id", {"pair_id", "conversation_id"}


@click.command()
@click.argument("kind", type=click.Choice(list(KINDS), case_sensitive=False))
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@click.option("--version", type=click.IntRange(1), metavar="N", help="Up to this version.")
@click.option(
    "--at",
    type=Moment(),
    help="Up to this time: RFC 3339 (UTC if it names no zone), or `15m` for 15 minutes ago. Not with --version.",
)
@click.option(
    "--last", type=click.IntRange(1, 1_000_000), default=20, show_default=True, help="Maximum number of versions."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per version.")
def aggregate(
    kind: str, ids: tuple[str, ...], version: int | None, at: datetime | None, last: int, as_json: bool
) -> None:
    """Shows one aggregate: its last events, and its state after each, as its service derives it.

    ID is the aggregate's id, the end of its subject. A user is also a username or @username. A friendship and a
    conversation are also named by their two users; `read` and `settings`, how far a user has read a conversation and
    how they have set it, by that user and the other.

    Private events come without data, and password hashes are never shown. The rest may hold what people wrote: look
    only where it is yours to look.
    """
    if version is not None and at is not None:
        raise click.UsageError("--version and --at cannot be combined")
    render = _json_line if as_json else _lines(event_line(sys.stdout.isatty()))
    asyncio.run(_run(Settings.load(), KINDS[kind], ids, version, at, last, render))


async def _run(
    settings: Settings,
    kind: AggregateKind,
    ids: tuple[str, ...],
    version: int | None,
    at: datetime | None,
    last: int,
    render: Callable[[AggregateVersion], str],
) -> None:
    url = settings.nats_url or find(settings.data_dir).nats_url
    settings = msgspec.structs.replace(settings, nats_url=url)
    nc = await connect_reader(settings, "operator-aggregate", patience=_PATIENCE)
    try:
        aggregate_id = await _aggregate_id(kind, ids, settings, Log(nc, patience=_PATIENCE))
        await look(settings, nc, "aggregate", target=aggregate_id, filter_={"kind": kind.name})
        history = AggregateHistory(kind, aggregate_id, nc, asyncio.get_running_loop())

        def write() -> None:
            for shown_version in history.versions(version=version, at=at, last=last, redacted=False):
                sys.stdout.write(render(shown_version) + "\n")

        await asyncio.to_thread(write)
    finally:
        # The connection ends with the command: no warning is needed.
        logging.getLogger("infra.runtime.connections").setLevel(logging.ERROR)
        await nc.close()


async def _aggregate_id(kind: AggregateKind, ids: tuple[str, ...], settings: Settings, log: Log) -> str:
    """Returns the end of the aggregate's subject.

    Raises:
        UsageError: the ids do not name an aggregate of this kind.
        NoSuchUser: a username is unknown.
    """
    parameters = kind.aggregate_type.parameters
    match ids, parameters:
        case (user,), (parameter,) if parameter == _USER:
            return await _user_id(user, settings, log)
        case (one, other), (parameter, *rest) if parameter in _PAIR and rest in ([], [_USER]):
            reader = await _user_id(one, settings, log)
            shared = pair_id(reader, await _user_id(other, settings, log))
            return f"{shared}.{reader}" if rest else shared
        case (text,), _ if [True] * len(parameters) == [is_id(part) for part in text.lower().split(".")]:
            return text.lower()
    also = " or two users" if parameters[0] in _PAIR else " or a username" if parameters == (_USER,) else ""
    names = ".".join(parameter.upper() for parameter in parameters)
    raise click.UsageError(f"{printable(' '.join(ids))!r} names no {kind.name}: give {names}{also}")


async def _user_id(user: str, settings: Settings, log: Log) -> str:
    name = user.removeprefix("@").lower()
    if is_id(name):
        return name
    try:
        user_id, _ = await events_of(log, settings, name)
    except UnicodeEncodeError:
        user_id = ""
    if not user_id:
        raise NoSuchUser(printable(user))
    return user_id


def _json_line(version: AggregateVersion) -> str:
    return msgspec.json.encode(version).decode()


def _lines(event: Callable[..., str]) -> Callable[[AggregateVersion], str]:
    def lines(version: AggregateVersion) -> str:
        notes = [f"version {version.missing} is missing: the stream no longer has it"] if version.missing else []
        notes += [_loss(loss) for loss in version.lost_before]
        shown = [f"    ({note})" for note in notes]
        shown.append(event(version.event))
        if version.error is not None:
            shown.append(f"    (this release cannot read the event: {printable(version.error)})")
        state = "unknown" if version.state is None else msgspec.json.encode(version.state).decode()
        shown.append(f"    state {printable(state)}")
        shown += [f"    ({_loss(loss)})" for loss in version.lost_after]
        if version.expired_at is not None:
            shown.append(f"    (expired at {rfc3339(version.expired_at)})")
        return "\n".join(shown)

    return lines


def _loss(loss: str) -> str:
    return f"{loss} is accepted as lost: events of this aggregate may have been there"
