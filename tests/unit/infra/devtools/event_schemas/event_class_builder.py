"""Creates changed versions of event classes."""

from typing import Any, TypeAlias

import msgspec

from contracts.events.event import Event
from contracts.values.personal_data import Personal
from infra.devtools.event_schemas.compatibility import breaking_changes
from infra.devtools.event_schemas.event_contract import Contract

KIND = "order.placed"
SUBJECT = "vestnik.orders.order.*"
PersonalText: TypeAlias = Personal[str]
Field: TypeAlias = tuple[str, Any] | tuple[str, Any, Any]


def event(*fields: Field, schema: int = 1, private: bool = False, kind: str = KIND) -> type[Event]:
    """An event class with these fields: name, type and, where it may be left out, the default."""
    namespace = {"TYPE": kind, "SCHEMA": schema, "PRIVATE": private}
    event_class = msgspec.defstruct(
        "OrderPlaced", fields, bases=(Event,), namespace=namespace, frozen=True, kw_only=True
    )
    assert issubclass(event_class, Event)
    return event_class


def contract(event_class: type[Event], subject: str = SUBJECT) -> Contract:
    """The event class's contract, written to a release file and read again."""
    return msgspec.json.decode(Contract.of(event_class, subject).text(), type=Contract)


def breaking_lines(released: type[Event] | list[type[Event]], now: type[Event]) -> list[str]:
    """The breaking changes between a release and today, as text."""
    history = released if isinstance(released, list) else [released]
    changes = breaking_changes([contract(version) for version in history], {now.TYPE: (now, contract(now))})
    return [str(change) for change in changes]
