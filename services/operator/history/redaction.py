"""Redacts personal fields of events, so that operators can watch the streams without reading them."""

from functools import cache

import msgspec

from contracts import catalogue
from infra.history.event_history import EventView

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
    kept = {name: REDACTED if name in hidden and value not in (None, "") else value for name, value in data.items()}
    return msgspec.structs.replace(shown, data=msgspec.Raw(msgspec.json.encode(kept)))


@cache
def _personal(event_type: str) -> frozenset[str]:
    """Fields of an event's data that the contracts mark as personal."""
    event = catalogue.EVENTS[event_type]
    _, components = msgspec.json.schema_components([event])
    properties = components[event.__name__]["properties"]
    return frozenset(name for name, described in properties.items() if b"/Sealed" in msgspec.json.encode(described))
