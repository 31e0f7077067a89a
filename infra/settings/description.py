"""Describes the settings for `vestnik settings` and the reference page."""

from collections.abc import Iterator
from typing import Annotated, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from contracts.services import DEFAULT_ADDRESSES, REGISTRY, service_of
from infra.settings.settings import ADDRESSES, Settings
from infra.settings.variables import FILE, URLS, address_field, variable

# When the file of a URL is read again.
_READ_AGAIN = {
    "nats_url": "of it user and password, but not the servers, are",
    "database_url": "it is",
    "smtp_url": "it is",
}


class Described(msgspec.Struct, frozen=True):
    """One setting, for `vestnik settings`."""

    name: str
    default: str
    description: str


def describe() -> Iterator[Described]:
    """Yields every setting in the order of declaration."""
    hints = get_type_hints(Settings, include_extras=True)
    for field in msgspec.structs.fields(Settings):
        if field.name == ADDRESSES:
            for name, address in DEFAULT_ADDRESSES.items():
                yield Described(variable(address_field(name)), address, _address_description(name))
        else:
            yield Described(variable(field.name), str(field.default), _description(hints[field.name]))
        if field.name in URLS:
            yield Described(
                variable(field.name + FILE),
                "",
                f"File that holds the value of {variable(field.name)} in its place; {_READ_AGAIN[field.name]} read "
                "again for each new connection.",
            )


def _address_description(name: str) -> str:
    service = service_of(name)
    empty = "; empty: it does not run" if REGISTRY[service].optional else ""
    return (
        f"Where {service} answers {'gRPC' if name == service else 'REST'}: `host:port` or `dns:///name:port` (every "
        f"address of the name in DNS), comma-separated{empty}."
    )


def _description(hint: object) -> str:
    if get_origin(hint) is Annotated:
        for extra in get_args(hint)[1:]:
            if isinstance(extra, Meta) and extra.description:
                return extra.description
    return ""
