"""`vestnik settings`: prints every setting, from its declaration."""

import re

import click
import msgspec

from infra.settings import Settings, describe

_SECRETS = (
    # Up to the last @ of a URL, since a password may hold anything.
    (re.compile(r"(?<=://)([^:@/,\s]*):(?:(?!,\w+://)\S)*@"), r"\1:***@"),
    # For NATS, a name without a password is a token.
    (re.compile(r"(nats://|tls://)[^:@/,\s]+@"), r"\1***@"),
    # A PostgreSQL password, in a URL's query or in a keyword/value string.
    (re.compile(r"(password=)(?:'[^']*'|[^&\s]*)"), r"\1***"),
)


class Shown(msgspec.Struct, frozen=True):
    """One setting as it is printed; a password inside it is masked."""

    name: str
    value: str
    default: str
    description: str


def shown(settings: Settings) -> list[Shown]:
    values = settings.environment()
    return [
        Shown(setting.name, masked(values[setting.name]), setting.default, " ".join(setting.description.split()))
        for setting in describe()
    ]


def masked(value: str) -> str:
    """The value without the passwords and tokens in it."""
    for pattern, shown_instead in _SECRETS:
        value = pattern.sub(shown_instead, value)
    return value


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array.")
def settings(as_json: bool) -> None:
    """Shows every setting: an environment variable, or a line of a .env file."""
    values = shown(Settings.load())
    if as_json:
        click.echo(msgspec.json.encode(values))
        return
    for value in values:
        changed = "" if value.value == value.default else f"  (default: {value.default or 'empty'})"
        click.echo(f"{value.name}={value.value}{changed}\n    {value.description}\n")
