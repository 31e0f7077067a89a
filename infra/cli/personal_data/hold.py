"""`vestnik hold`: legal holds on the data of persons."""

import asyncio
import sys
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime

import click
import msgspec
from nats.aio.client import Client as NATS

from contracts import subjects
from contracts.events.data_keys import DataKeysHoldPlaced, DataKeysHoldReleased
from contracts.events.user import UserCreated
from contracts.rpc.vestnik.auth.v1 import AuthServiceStub, PlaceHoldRequest, ReleaseHoldRequest
from contracts.services import OPERATOR
from contracts.values.timestamps import rfc3339
from infra.cli.accounts.user_lookup import NoSuchUser, events_of
from infra.cli.actions.identity import Reason
from infra.cli.actions.recording import acting, look
from infra.cli.output.terminal_text import printable
from infra.cli.reader_connection import connect_reader
from infra.history.operator_audit import Query, Row, audit_rows
from infra.rpc.client import Client
from infra.runtime.run_file import with_running_addresses
from infra.security.secrets import Secrets
from infra.settings import Settings
from streams.log import Log

_TIMEOUT = 10.0
_PATIENCE = 5.0
_PLACE, _RELEASE = "hold.place", "hold.release"


class HoldChanged(msgspec.Struct, frozen=True):
    user_id: str
    # False if it was so before.
    changed: bool


class Held(msgspec.Struct, frozen=True):
    """A hold that is in force."""

    user_id: str
    username: str
    placed_at: datetime
    # The operator who placed it.
    by: str
    reason: str


class _System(msgspec.Struct, frozen=True):
    settings: Settings
    nc: NATS
    auth: Client

    async def id_of(self, user: str) -> str:
        """The id of the account with this name or id.

        Raises:
            NoSuchUser: there is none.
        """
        user_id, events = await events_of(Log(self.nc, patience=_PATIENCE), self.settings, user.strip().lower())
        if not events:
            raise NoSuchUser(user)
        return user_id


@click.group()
def hold() -> None:
    """Keeps the data of a person from erasure and retention while the law requires it.

    The person is not notified.
    """


@hold.command()
@click.argument("user", metavar="USER")
@click.option("--reason", type=Reason(), required=True, help="The reason; recorded permanently, in plain form.")
@click.option("--by", metavar="NAME", help="Who does it; default: the user logged in to this machine.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def place(user: str, reason: str, by: str | None, as_json: bool) -> None:
    """Places a hold on the data of USER (a username or an id): no erasure and no retention destroys its keys."""
    placed = asyncio.run(_place(Settings.load(), user, reason, by))
    _print_result(
        placed, f"the data of {user} is held" if placed.changed else f"the data of {user} was held before", as_json
    )


@hold.command()
@click.argument("user", metavar="USER")
@click.option("--reason", type=Reason(), required=True, help="The reason; recorded permanently, in plain form.")
@click.option("--by", metavar="NAME", help="Who does it; default: the user logged in to this machine.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def release(user: str, reason: str, by: str | None, as_json: bool) -> None:
    """Releases the hold on the data of USER (a username or an id). What waited for it is then erased."""
    released = asyncio.run(_release(Settings.load(), user, reason, by))
    _print_result(released, f"the hold on the data of {user} {'is' if released.changed else 'was'} released", as_json)


@hold.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
def list_(as_json: bool) -> None:
    """Shows the holds that are in force, by whom and why. This is a look, and is recorded."""
    holds = asyncio.run(_list(Settings.load()))
    for held in holds:
        click.echo(msgspec.json.encode(held).decode() if as_json else _line(held))
    if not holds:
        click.echo("no hold is in force", err=True)


async def _place(settings: Settings, user: str, reason: str, by: str | None) -> HoldChanged:
    async with _system(settings) as system:
        user_id = await system.id_of(user)
        request = PlaceHoldRequest(user_id=user_id, reason=reason)
        async with acting(system.settings, system.nc, _PLACE, by=by, target=user_id, reason=reason):
            call = system.auth.stub(AuthServiceStub).place_hold
            answer = await system.auth.call(call, request, timeout=_TIMEOUT, idempotent=True)
        return HoldChanged(user_id, answer.placed)


async def _release(settings: Settings, user: str, reason: str, by: str | None) -> HoldChanged:
    async with _system(settings) as system:
        user_id = await system.id_of(user)
        request = ReleaseHoldRequest(user_id=user_id)
        async with acting(system.settings, system.nc, _RELEASE, by=by, target=user_id, reason=reason):
            call = system.auth.stub(AuthServiceStub).release_hold
            answer = await system.auth.call(call, request, timeout=_TIMEOUT, idempotent=True)
        return HoldChanged(user_id, answer.released)


async def _list(settings: Settings) -> list[Held]:
    async with _system(settings) as system:
        await look(system.settings, system.nc, "holds")
        # Each act is recorded before the hold, so that those in force are among these.
        acts: dict[str, list[Row]] = defaultdict(list)
        for row in (await audit_rows(system.nc, Query(action=_PLACE, looks=False))).rows:
            acts[row.target].append(row)
        log, holds = Log(system.nc, patience=_PATIENCE), []
        for user_id, rows in acts.items():
            if (held := await _hold_of(log, user_id, rows)) is not None:
                holds.append(held)
        return sorted(holds, key=lambda held: held.placed_at)


async def _hold_of(log: Log, user_id: str, acts: list[Row]) -> Held | None:
    """The hold on the person's data, if it is in force. `acts`: that were to place one, in order of time."""
    placed = None
    for message in await log.read(subjects.data_keys(user_id)):
        event = message.open()
        if isinstance(event.data, DataKeysHoldPlaced):
            placed = (event.at, event.data.reason)
        elif isinstance(event.data, DataKeysHoldReleased):
            placed = None
    if placed is None:
        return None
    events = [message.open().data for message in await log.read(subjects.user(user_id))]
    username = next((event.username for event in events if isinstance(event, UserCreated)), "")
    placed_at, reason = placed
    # Acts that came later found it placed. Clocks may differ.
    by = [row for row in acts if row.at <= placed_at] or acts[:1]
    return Held(user_id, username, placed_at, by[-1].operator, reason)


@asynccontextmanager
async def _system(settings: Settings) -> AsyncIterator[_System]:
    settings = with_running_addresses(settings)
    nc = await connect_reader(settings, "operator-holds", patience=_PATIENCE)
    auth = Client("auth", me=OPERATOR, settings=settings, secrets=Secrets.load(settings.secrets_path))
    try:
        yield _System(settings, nc, auth)
    finally:
        auth.close()
        await nc.close()


def _print_result(changed: HoldChanged, text: str, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(msgspec.json.encode(changed).decode() + "\n")
    else:
        click.echo(text, err=True)


def _line(held: Held) -> str:
    line = f"{held.username:<32}  {held.user_id}  since {rfc3339(held.placed_at)}, by {held.by}: {held.reason}"
    return printable(line)
