"""`vestnik erase`: erases an account at once, and records which operator did it."""

import asyncio
import sys
from datetime import datetime

import click
import msgspec

from contracts.events.user import UserEmailVerified
from contracts.rpc.vestnik.auth.v1 import AuthServiceStub, EraseAccountRequest, EraseAccountResponse
from contracts.services import OPERATOR
from contracts.values.ids import is_id, made_at
from contracts.values.timestamps import from_unix_ms
from infra.cli.accounts.user_lookup import NoSuchUser, events_of
from infra.cli.actions.identity import Reason
from infra.cli.actions.recording import acting
from infra.cli.output import tables
from infra.cli.reader_connection import connect_reader
from infra.rpc.client import Client
from infra.runtime.run_file import with_running_addresses
from infra.security.secrets import Secrets
from infra.settings import Settings
from streams.log import Log

_TIMEOUT = 20.0
_PATIENCE = 5.0


class Erased(msgspec.Struct, frozen=True):
    user_id: str
    # False: it had been erased before.
    erased: bool
    # When another account can use its name and addresses; None: they are free, or stay taken.
    free_at: datetime | None


class _Account(msgspec.Struct, frozen=True):
    user_id: str
    # Whether its address is verified.
    is_verified: bool

    def __str__(self) -> str:
        state = "with a verified address" if self.is_verified else "without a verified address"
        return f"{self.user_id}, registered {made_at(self.user_id):%Y-%m-%d %H:%M} UTC, {state}"


@click.command("erase")
@click.argument("user", metavar="USER")
@click.option("--reason", type=Reason(), required=True, help="The reason; recorded permanently, in plain form.")
@click.option("--by", metavar="NAME", help="Who does it; default: the user logged in to this machine.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def erase(user: str, reason: str, by: str | None, yes: bool, as_json: bool) -> None:
    """Erases the account of USER (a username or an id) at once, and forever.

    It logs in no more, its sessions end, and the keys of its personal data are destroyed: in every stream, export and
    backup that data is unreadable afterwards. A legal hold forbids it. A name may belong to another person some time
    after an erasure: without a question only an id is accepted.
    """
    settings, user = with_running_addresses(Settings.load()), user.strip().lower()
    if yes and not is_id(user):
        raise click.UsageError("--yes needs the id of the account: a name may be another person's by now")
    account = asyncio.run(_find(settings, user))
    if not yes:
        click.confirm(
            f"Erase {user} ({account}) and all of their personal data? This cannot be undone.", abort=True, err=True
        )
    erased = asyncio.run(_run(settings, account, reason, by))
    if as_json:
        sys.stdout.write(msgspec.json.encode(erased).decode() + "\n")
        return
    if not erased.erased:
        click.echo(f"{user} had been erased before", err=True)
        return
    console = tables.console(stderr=True)
    console.print(f"{user} is erased: the account {erased.user_id} is closed, and its sessions end", soft_wrap=True)
    console.print("the keys of its personal data are destroyed within moments, and read models drop it", soft_wrap=True)
    if erased.free_at is not None:
        free_from = f"{erased.free_at:%Y-%m-%d %H:%M} UTC"
        console.print(f"name and addresses can be used again from {free_from} on", soft_wrap=True)
    elif account.is_verified:
        console.print("the key of its name or addresses was lost: they cannot be read and stay taken", soft_wrap=True)


async def _find(settings: Settings, user: str) -> _Account:
    """
    Raises:
        NoSuchUser: there is no account of this name or id.
    """
    nc = await connect_reader(settings, "operator-erase", patience=_PATIENCE)
    try:
        user_id, events = await events_of(Log(nc, patience=_PATIENCE), settings, user)
    finally:
        await nc.close()
    if not events:
        raise NoSuchUser(user)
    return _Account(user_id, any(isinstance(event, UserEmailVerified) for event in events))


async def _run(settings: Settings, account: _Account, reason: str, by: str | None) -> Erased:
    nc, user_id = await connect_reader(settings, "operator-erase", patience=_PATIENCE), account.user_id
    client = Client("auth", me=OPERATOR, settings=settings, secrets=Secrets.load(settings.secrets_path))
    try:
        async with acting(settings, nc, "accounts.erase", by=by, target=user_id, reason=reason):
            answer: EraseAccountResponse = await client.call(
                client.stub(AuthServiceStub).erase_account,
                EraseAccountRequest(user_id=user_id),
                timeout=_TIMEOUT,
                idempotent=True,
            )
        return Erased(user_id, answer.erased, None if answer.free_at is None else from_unix_ms(answer.free_at))
    finally:
        client.close()
        await nc.close()
