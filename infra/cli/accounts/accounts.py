"""`vestnik accounts`: helps users who cannot help themselves."""

import asyncio
import sys

import click
import msgspec

from contracts.rpc.vestnik.auth.v1 import AuthServiceStub, ResetTotpRequest
from contracts.services import OPERATOR
from infra.cli.accounts.user_lookup import NoSuchUser, events_of
from infra.cli.actions.identity import Reason
from infra.cli.actions.recording import acting
from infra.cli.reader_connection import connect_reader
from infra.rpc.client import Client
from infra.runtime.run_file import with_running_addresses
from infra.security.secrets import Secrets
from infra.settings import Settings
from streams.log import Log

_TIMEOUT = 10.0
_PATIENCE = 5.0


class Reset(msgspec.Struct, frozen=True):
    user_id: str
    # False if two-step verification was off.
    removed: bool


@click.group()
def accounts() -> None:
    """Helps users who have lost what they log in with."""


@accounts.command("reset-totp")
@click.argument("user", metavar="USER")
@click.option("--reason", type=Reason(), required=True, help="The reason; recorded permanently, in plain form.")
@click.option("--by", metavar="NAME", help="Who does it; default: the user logged in to this machine.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def reset_totp(user: str, reason: str, by: str | None, as_json: bool) -> None:
    """Turns off the two-step verification of USER (a username or an id), who lost both app and recovery codes.

    Make sure that it is their own wish: from then on the password alone opens the account. Their sessions continue, and
    they are notified.
    """
    reset = asyncio.run(_reset(with_running_addresses(Settings.load()), user.strip().lower(), reason, by))
    if as_json:
        sys.stdout.write(msgspec.json.encode(reset).decode() + "\n")
        return
    click.echo(f"the two-step verification of {user} {'is' if reset.removed else 'was'} off", err=True)


async def _reset(settings: Settings, user: str, reason: str, by: str | None) -> Reset:
    nc = await connect_reader(settings, "operator-accounts", patience=_PATIENCE)
    client = Client("auth", me=OPERATOR, settings=settings, secrets=Secrets.load(settings.secrets_path))
    try:
        user_id, events = await events_of(Log(nc, patience=_PATIENCE), settings, user)
        if not events:
            raise NoSuchUser(user)
        request = ResetTotpRequest(user_id=user_id)
        async with acting(settings, nc, "accounts.reset_totp", by=by, target=user_id, reason=reason):
            reset = client.stub(AuthServiceStub).reset_totp
            answer = await client.call(reset, request, timeout=_TIMEOUT, idempotent=True)
        return Reset(user_id, answer.removed)
    finally:
        client.close()
        await nc.close()
