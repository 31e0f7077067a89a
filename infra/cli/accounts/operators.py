"""`vestnik operators`: the accounts that may open the page at /ops."""

import asyncio
import sys

import click
import msgspec
from nats.aio.client import Client as NATS

from contracts import subjects
from contracts.events.second_factor import SECOND_FACTOR_EVENTS
from contracts.events.user import UserCreated, UserEmailVerified, UserErased
from contracts.values.timestamps import rfc3339
from infra.cli.accounts.user_lookup import events_of
from infra.cli.actions.identity import Reason
from infra.cli.actions.recording import act_without_nats, acting
from infra.cli.output.terminal_text import printable
from infra.cli.reader_connection import connect_reader
from infra.operator_errors import OperatorError
from infra.runtime.run_file import with_running_addresses
from infra.security.operator_accounts import Operator, Operators
from infra.settings import Settings
from streams.log import Log

_PATIENCE = 5.0
_NO_TOTP = (
    "The account has no two-step verification. Wherever others than this machine reach the page, it is needed: turn it "
    "on in the messenger's settings, then log in again with a code."
)


class NoSuchAccount(OperatorError):
    """No account with a verified address has this name or id."""

    def __init__(self, user: str) -> None:
        super().__init__(f"there is no account {user}: register it first, in the browser, and confirm its address")


@click.group()
def operators() -> None:
    """Manages the accounts that may open the operators' page at /ops.

    They are listed in the secrets folder: only those who may write there can change the list.
    """


@operators.command()
@click.argument("user", metavar="USER")
@click.option("--by", metavar="NAME", help="Who grants it; default: the user logged in to this machine.")
@click.option("--reason", type=Reason(), help="The reason; recorded permanently, in plain form.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def add(user: str, by: str | None, reason: str | None, as_json: bool) -> None:
    """Makes the account USER (a username or an id) an operator; takes effect before the command returns."""
    settings = Settings.load()
    operator, has_totp = asyncio.run(_add(with_running_addresses(settings), user.strip().lower(), by, reason))
    _print_result(operator, f"{operator.username} is an operator", as_json)
    if not has_totp and settings.operator_totp != "off":
        click.echo(_NO_TOTP, err=True)


@operators.command()
@click.argument("user", metavar="USER")
@click.option("--reason", type=Reason(), required=True, help="The reason; recorded permanently, in plain form.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def remove(user: str, reason: str, as_json: bool) -> None:
    """Removes the account USER from the operators, also while NATS is away; takes effect before the command returns."""
    settings = Settings.load()
    accounts = Operators(settings.secrets_path)
    user_id = accounts.named(user.strip().lower()).user_id
    operator = asyncio.run(
        act_without_nats(settings, "operators.remove", lambda: accounts.remove(user_id), target=user_id, reason=reason)
    )
    _print_result(operator, f"{operator.username} is no longer an operator", as_json)


@operators.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
def list_(as_json: bool) -> None:
    """Shows the operators, since when, and who added them."""
    entries = Operators(Settings.load().secrets_path).all()
    for operator in entries:
        line = msgspec.json.encode(operator).decode() if as_json else _line(operator)
        click.echo(line)
    if not entries:
        click.echo("no operators; `vestnik operators add USER` adds one", err=True)


def _print_result(operator: Operator, text: str, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(msgspec.json.encode(operator).decode() + "\n")
    else:
        click.echo(text, err=True)


def _line(operator: Operator) -> str:
    line = f"{operator.username:<32}  {operator.user_id}  since {rfc3339(operator.since)}, by {operator.by}"
    return printable(line)


async def _add(settings: Settings, user: str, by: str | None, reason: str | None) -> tuple[Operator, bool]:
    """Adds the operator; also returns whether the account has two-step verification."""
    nc = await connect_reader(settings, "operator-operators", patience=_PATIENCE)
    try:
        user_id, username = await _account(nc, settings, user)
        async with acting(settings, nc, "operators.add", by=by, target=user_id, reason=reason) as act:
            operator = Operators(settings.secrets_path).add(user_id, username, act.actor.name)
        return operator, await _has_totp(nc, user_id)
    finally:
        await nc.close()


async def _has_totp(nc: NATS, user_id: str) -> bool:
    message = await Log(nc, patience=_PATIENCE).last(subjects.second_factor(user_id))
    event = None if message is None else message.open().data
    return isinstance(event, SECOND_FACTOR_EVENTS) and event.state.secret is not None


async def _account(nc: NATS, settings: Settings, user: str) -> tuple[str, str]:
    """Returns the id and the username of an account, read from the stream.

    Raises:
        NoSuchAccount: there is no such account, or its address is not verified, or it was erased.
    """
    user_id, events = await events_of(Log(nc, patience=_PATIENCE), settings, user)
    # Only once the address is verified: a registration that expires releases its name. An erasure reserves it.
    kinds = {type(event) for event in events}
    if UserEmailVerified in kinds and UserErased not in kinds:
        return next((user_id, event.username) for event in events if isinstance(event, UserCreated))
    raise NoSuchAccount(user)
