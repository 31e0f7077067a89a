"""Events without what is personal in them: to see the streams move nobody has to read what people write."""

from functools import cache

import msgspec

from contracts import catalogue
from infra.history.event_history import EventView

REDACTED = "•••"
_NULL = msgspec.Raw(b"null")


def redact(shown: EventView) -> EventView:
    """The event with each personal field as `•••`; without any data where its shape is not one that we know."""
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
    """The fields of an event's data that contracts mark as personal."""
    event = catalogue.EVENTS[event_type]
    _, components = msgspec.json.schema_components([event])
    properties = components[event.__name__]["properties"]
    return frozenset(name for name, described in properties.items() if b"/Sealed" in msgspec.json.encode(described))
