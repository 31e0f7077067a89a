"""Registry of all event types: finds the class of a type and decodes event data, upcast to the current schema."""

from typing import Any

import msgspec

from contracts.aggregate_types import AGGREGATE_TYPES
from contracts.events.event import Event
from contracts.upcasts import upcast

EVENTS: dict[str, type[Event]] = {event.TYPE: event for kind in AGGREGATE_TYPES for event in kind.events}
# Raised by msgspec besides its own error: for text that is not UTF-8, and for arrays nested too deeply.
UNDECODABLE = (UnicodeDecodeError, RecursionError)
_DECODERS: dict[str, msgspec.json.Decoder[Any]] = {
    kind: msgspec.json.Decoder(event_class) for kind, event_class in EVENTS.items()
}


def decode(kind: str, schema: int, data: bytes | msgspec.Raw) -> Event:
    """Decodes an event's data.

    Raises:
        LookupError: the event type is unknown, or its schema is newer than this program's.
        msgspec.DecodeError: the data is not JSON, or does not have the event's shape.
    """
    event_class = EVENTS[kind]
    if schema > event_class.SCHEMA:
        raise LookupError(f"{kind}: schema {schema} is newer than this program's {event_class.SCHEMA}")
    try:
        if schema == event_class.SCHEMA:
            event: Event = _DECODERS[kind].decode(data)
            return event
        older = upcast(kind, schema, msgspec.json.decode(data), event_class.SCHEMA)
        return msgspec.convert(older, event_class)
    except msgspec.DecodeError:
        raise
    except (*UNDECODABLE, AttributeError, TypeError, ValueError) as error:
        # The last three come from an upcast step that received data of an unexpected shape.
        raise msgspec.DecodeError(f"{kind}: {error}") from error
