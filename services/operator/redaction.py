"""Redacts personal fields of events and states, so that operators can watch the streams without reading them."""

from collections.abc import Set
from functools import cache
from typing import Any

import msgspec

from contracts import catalogue
from infra.history.event_history import EventView
from services.operator.history.aggregate_kinds import AggregateKind

REDACTED = "•••"
_NULL = msgspec.Raw(b"null")


def redact(shown: EventView) -> EventView:
    """Returns the event with each personal field as `•••`; without data if its schema is not the current one."""
    if shown.is_private:
        return shown
    event = catalogue.EVENTS.get(shown.type)
    if event is None or shown.schema != event.SCHEMA:
        return msgspec.structs.replace(shown, data=_NULL)
    data = msgspec.json.decode(shown.data)
    if not isinstance(data, dict):
        return msgspec.structs.replace(shown, data=_NULL)
    hidden = _personal(shown.type)
    redacted = {name: REDACTED if name in hidden and value not in (None, "") else value for name, value in data.items()}
    return msgspec.structs.replace(shown, data=msgspec.Raw(msgspec.json.encode(redacted)))


def redact_state(kind: AggregateKind, state: object, *, redacted: bool) -> dict[str, Any]:
    """Returns an aggregate's state as JSON data, its secrets as `•••`.

    `redacted`: also hides every member that has the name of a personal field of the aggregate's events.
    """
    events = kind.aggregate_type.events if redacted else ()
    hidden = kind.secrets.union(*(_personal(event.TYPE) for event in events))
    masked = _masked(msgspec.to_builtins(state, order="deterministic", enc_hook=plain), hidden)
    assert isinstance(masked, dict)
    return masked


def plain(value: object) -> object:
    """A domain's own kind of set as msgspec knows one."""
    if isinstance(value, Set):
        return frozenset(value)
    raise NotImplementedError


def _masked(value: object, hidden: frozenset[str]) -> object:
    if isinstance(value, list):
        return [_masked(item, hidden) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        name: REDACTED if name in hidden and item not in (None, "") else _masked(item, hidden)
        for name, item in value.items()
    }


@cache
def _personal(event_type: str) -> frozenset[str]:
    """Fields of an event's data that the contracts mark as personal."""
    event = catalogue.EVENTS[event_type]
    _, components = msgspec.json.schema_components([event])
    properties = components[event.__name__]["properties"]
    return frozenset(name for name, described in properties.items() if b"/Sealed" in msgspec.json.encode(described))
