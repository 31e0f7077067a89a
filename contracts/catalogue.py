"""Registry of all event types: finds the class of a type and decodes event data, upcast to the current schema."""

from typing import Any

import msgspec

from contracts.aggregate_types import AGGREGATE_TYPES
from contracts.events.event import Event
from contracts.upcasts import upcast
from contracts.values.personal_data import Sealed

EVENTS: dict[str, type[Event]] = {event.TYPE: event for kind in AGGREGATE_TYPES for event in kind.events}
# Raised by msgspec besides its own error: for text that is not UTF-8, and for arrays nested too deeply.
UNDECODABLE = (UnicodeDecodeError, RecursionError)
# In the JSON of every sealed value, and never within a text, where quotes are escaped.
SEALED_MARK = b'"ciphertext"'
_DECODERS: dict[str, msgspec.json.Decoder[Any]] = {
    kind: msgspec.json.Decoder(event_class) for kind, event_class in EVENTS.items()
}


class StillSealed(LookupError):
    """Personal data in the event is sealed: its reader has no keys, or the key does not fit."""

    def __init__(self, kind: str) -> None:
        super().__init__(f"{kind}: its personal data is sealed, and this program has no key that opens it")


def decode(kind: str, schema: int, data: bytes | msgspec.Raw, *, may_be_sealed: bool = False) -> Event:
    """Decodes an event's data.

    `may_be_sealed`: whether its personal data is returned as it is stored; otherwise all of it is plain text.

    Raises:
        StillSealed: personal data in it is sealed.
        LookupError: the event type is unknown, or its schema is newer than this program's.
        msgspec.DecodeError: the data is not JSON, or does not have the event's shape.
    """
    event_class = EVENTS[kind]
    if schema > event_class.SCHEMA:
        raise LookupError(f"{kind}: schema {schema} is newer than this program's {event_class.SCHEMA}")
    event: Event
    try:
        if schema == event_class.SCHEMA:
            event = _DECODERS[kind].decode(data)
        else:
            older = upcast(kind, schema, msgspec.json.decode(data), event_class.SCHEMA)
            event = msgspec.convert(older, event_class)
    except msgspec.DecodeError:
        raise
    except (*UNDECODABLE, AttributeError, TypeError, ValueError) as error:
        # The last three come from an upcast step that received data of an unexpected shape.
        raise msgspec.DecodeError(f"{kind}: {error}") from error
    if not may_be_sealed and SEALED_MARK in bytes(data) and _has_sealed(event):
        raise StillSealed(kind)
    return event


def _has_sealed(value: object) -> bool:
    match value:
        case Sealed():
            return True
        case msgspec.Struct():
            return any(_has_sealed(getattr(value, name)) for name in value.__struct_fields__)
        case tuple() | list():
            return any(map(_has_sealed, value))
        case dict():
            return any(map(_has_sealed, value.values()))
    return False
