"""`vestnik settings`: prints every setting, from its declaration."""

import re

import click
import msgspec

from infra.settings import Settings, describe

_SECRETS = (
    # Up to the last @ of a URL, since a password may hold anything.
    (re.compile(r"(?<=://)([^:@/,\s]*):(?:(?!,\w+://)\S)*@"), r"\1:***@"),
    # For NATS, a name without a password is a token.
    (re.compile(r"(?<=nats://)[^:@/,\s]+@"), "***@"),
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
        Shown(each.name, masked(values[each.name]), each.default, " ".join(each.description.split()))
        for each in describe()
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
    found = shown(Settings.load())
    if as_json:
        click.echo(msgspec.json.encode(found))
        return
    for each in found:
        changed = "" if each.value == each.default else f"  (default: {each.default or 'empty'})"
        click.echo(f"{each.name}={each.value}{changed}\n    {each.description}\n")
