"""`vestnik settings`: every setting, from the place where it is declared."""

import re

import click
import msgspec

from infra.settings import Settings, describe, variable

PASSWORD = re.compile(r"(?<=://)([^/@\s]*):([^/@\s]*)@")


class Shown(msgspec.Struct, frozen=True):
    """One setting as it is printed; a password inside a URL is masked."""

    name: str
    value: str
    default: str
    description: str


def shown(settings: Settings) -> list[Shown]:
    values = {variable(name): str(getattr(settings, name)) for name in settings.__struct_fields__}
    return [
        Shown(each.name, masked(values[each.name]), each.default, " ".join(each.description.split()))
        for each in describe()
    ]


def masked(value: str) -> str:
    """The value without the passwords of the URLs in it."""
    return PASSWORD.sub(r"\1:***@", value)


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
