"""`vestnik keys`: lists and rotates the keys of tokens, services, notary, positions, authenticators, personal data."""

import asyncio
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

import click
import msgspec

from infra.cli.accounts import data_keys
from infra.cli.actions.identity import Reason
from infra.cli.actions.recording import act_without_nats
from infra.cli.output.tables import Column, console, fitted
from infra.security import position_keys, sealing_keys
from infra.security.access_keys import AccessKeys
from infra.security.key_lifecycle import AccessKey, KeyTerms
from infra.security.notary import keys as notary_keys
from infra.security.secrets import Secrets
from infra.settings import Settings

T = TypeVar("T")

_COLUMNS = (Column("key"), Column("state"), Column("signs from", is_text=True), Column("retires", is_text=True))
_COLOURS = {"signing": "green", "published": "yellow", "retired": "dim"}


@click.group()
def keys() -> None:
    """Shows and rotates the keys of access tokens, without logging anyone out."""


@keys.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
def list_keys(as_json: bool) -> None:
    """Shows each key and its state: published, signing, verifying or retired."""
    _show(_keys().listed(datetime.now(UTC)), as_json)


@keys.command()
@click.option(
    "--at-once",
    is_flag=True,
    help="The current key is compromised: sign with the new one immediately and remove all others. Every access "
    "token has to be refreshed; no one has to log in again.",
)
@click.option("--reason", type=Reason(), required=True, help="The reason; recorded permanently, in plain form.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
def rotate(at_once: bool, reason: str, as_json: bool) -> None:
    """Adds a key that replaces the current one.

    The new key is published immediately and signs after VESTNIK_ACCESS_KEY_LEAD_SECONDS. The old one verifies the
    tokens that it signed until the last of them has expired, and is then removed. No restart is needed.
    """
    keys = _keys()
    rotated = _recorded("keys.rotate", lambda: keys.rotate(datetime.now(UTC), at_once=at_once), reason, at_once)
    _show(rotated, as_json)


@keys.command(name="rotate-services")
@click.option("--reason", type=Reason(), required=True, help="The reason; recorded permanently, in plain form.")
def rotate_services(reason: str) -> None:
    """Gives each service a new key for its service tokens.

    No restart is needed: each service signs with its new key within five minutes, and the previous keys stay valid
    until the next rotation. Wait at least five minutes between two rotations.
    """
    secrets = Secrets.load(Settings.load().secrets_path)
    _recorded("keys.rotate_services", secrets.rotate_service_keys, reason)
    click.echo("every service has a new key; the previous keys are valid until the next rotation")


@keys.command(name="rotate-notary")
@click.option("--reason", type=Reason(), required=True, help="The reason; recorded permanently, in plain form.")
def rotate_notary(reason: str) -> None:
    """Gives the notary a new key, which signs tree heads immediately.

    The other private keys are deleted. All public keys stay published, since the heads that they signed are kept. No
    restart is needed.
    """
    folder = Settings.load().secrets_path
    key_id = _recorded("keys.rotate_notary", lambda: notary_keys.rotate(folder, datetime.now(UTC)), reason)
    click.echo(f"tree heads are signed with the key {key_id}")


@keys.command(name="rotate-positions")
@click.option(
    "--at-once",
    is_flag=True,
    help="Encrypt with the new key immediately and remove all others. Every position that clients hold is refused "
    "with 422; they reload their lists.",
)
@click.option("--reason", type=Reason(), required=True, help="The reason; recorded permanently, in plain form.")
def rotate_positions(at_once: bool, reason: str) -> None:
    """Adds a key that encrypts clients' positions, or creates the first one.

    It encrypts after VESTNIK_ACCESS_KEY_LEAD_SECONDS. Earlier keys are kept, so that a client may return with a
    position of any age. No restart is needed.
    """
    folder = Settings.load().secrets_path
    key_id = _recorded(
        "keys.rotate_positions",
        lambda: position_keys.FILES.rotate(folder, datetime.now(UTC), at_once=at_once),
        reason,
        at_once,
    )
    click.echo(
        f"positions have the key {key_id}" + ("; all others were removed" if at_once else ", after the lead time")
    )


@keys.command(name="rotate-totp")
@click.option("--reason", type=Reason(), required=True, help="The reason; recorded permanently, in plain form.")
def rotate_totp(reason: str) -> None:
    """Adds a key that seals the secrets of authenticator apps, or creates the first one.

    It seals after VESTNIK_ACCESS_KEY_LEAD_SECONDS. Earlier keys are kept: the secrets that they sealed are needed. No
    restart is needed.
    """
    folder = Settings.load().secrets_path
    key_id = _recorded("keys.rotate_totp", lambda: sealing_keys.TOTP.rotate(folder, datetime.now(UTC)), reason)
    click.echo(f"secrets of authenticator apps are sealed with the key {key_id} after the lead time")


@keys.command(name="rotate-personal-data")
@click.option("--reason", type=Reason(), required=True, help="The reason; recorded permanently, in plain form.")
def rotate_personal_data(reason: str) -> None:
    """Adds a master key of personal data, or creates the first one.

    It wraps new keys of persons after VESTNIK_ACCESS_KEY_LEAD_SECONDS. Then `rewrap` wraps the existing ones with it;
    until that is done, earlier master keys are needed. No restart is needed.
    """
    folder = Settings.load().secrets_path
    key_id = _recorded(
        "keys.rotate_personal_data", lambda: sealing_keys.PERSONAL_DATA.rotate(folder, datetime.now(UTC)), reason
    )
    click.echo(f"keys of persons are wrapped with the key {key_id} after the lead time")


for command in (
    data_keys.personal_data,
    data_keys.rewrap,
    data_keys.back_up,
    data_keys.restore,
    data_keys.lost,
    data_keys.accept_loss,
):
    keys.add_command(command)


def _recorded(action: str, work: Callable[[], T], reason: str, at_once: bool = False) -> T:
    """Rotates keys, also while NATS is away: a compromised key cannot wait."""
    details = {"at_once": "yes"} if at_once else {}
    return asyncio.run(act_without_nats(Settings.load(), action, work, details=details, reason=reason))


def _keys() -> AccessKeys:
    settings = Settings.load()
    return AccessKeys(settings.secrets_path, KeyTerms.of(settings))


def _show(keys: list[AccessKey], as_json: bool) -> None:
    if as_json:
        sys.stdout.write("".join(msgspec.json.encode(key).decode() + "\n" for key in keys))
        return
    shown = console()
    rows = [(key.key_id, _coloured(key.state.value), _moment(key.signs_from), _moment(key.retires_at)) for key in keys]
    shown.print(fitted(_COLUMNS, rows, shown.width))


def _coloured(state: str) -> str:
    colour = _COLOURS.get(state)
    return f"[{colour}]{state}[/]" if colour else state


def _moment(moment: datetime | None) -> str:
    if moment is None:
        return ""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S") if moment.year > 1970 else "long ago"
