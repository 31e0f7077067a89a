"""`vestnik erase`: erases an account at once, and records which operator did it."""

import asyncio
import sys
from datetime import datetime

import click
import msgspec
from nats.aio.client import Client as NATS

from contracts.rpc.vestnik.auth.v1 import AuthServiceStub, EraseAccountRequest, EraseAccountResponse
from contracts.services import OPERATOR
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
    # When another account can use its name and addresses; None: they are free, or it is unknown.
    free_at: datetime | None


@click.command("erase")
@click.argument("user", metavar="USER")
@click.option("--reason", type=Reason(), required=True, help="The reason; recorded permanently.")
@click.option("--by", metavar="NAME", help="Who does it; default: the user logged in to this machine.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def erase(user: str, reason: str, by: str | None, yes: bool, as_json: bool) -> None:
    """Erases the account of USER (a username or an id) at once, and for ever.

    It logs in no more, its sessions end, and the keys of its personal data are destroyed: in every stream, export and
    backup that data is unreadable afterwards. A legal hold forbids it.
    """
    settings, user = with_running_addresses(Settings.load()), user.strip().lower()
    if not yes:
        click.confirm(f"Erase {user} and all of their personal data? This cannot be undone.", abort=True, err=True)
    erased = asyncio.run(_run(settings, user, reason, by))
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


async def _run(settings: Settings, user: str, reason: str, by: str | None) -> Erased:
    nc = await connect_reader(settings, "operator-erase", patience=_PATIENCE)
    client = Client("auth", me=OPERATOR, settings=settings, secrets=Secrets.load(settings.secrets_path))
    try:
        user_id = await _id_of(nc, settings, user)
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


async def _id_of(nc: NATS, settings: Settings, user: str) -> str:
    """
    Raises:
        NoSuchUser: there is no account of this name or id.
    """
    user_id, events = await events_of(Log(nc, patience=_PATIENCE), settings, user)
    if not events:
        raise NoSuchUser(user)
    return user_id
