"""Maps the library's stored events to our envelope, so that any NATS tool can read them.

The topic is the event's type. A state that is a JSON object is stored in `data` unchanged, byte for byte; any other
(from a compressor or a cipher) is stored there as a Base64 string. Vestnik's own events thus are stored events, too.
"""

from base64 import b64encode
from collections.abc import Callable
from urllib.parse import quote
from uuid import UUID

import msgspec
from eventsourcing.persistence import Notification, StoredEvent

from contracts.envelope import Envelope, now
from contracts.values.ids import new_id
from streams.message import Message

OriginatorId = UUID | str
AsOriginatorId = Callable[[str], OriginatorId]
# The library keeps the version of an event's class in its state.
_SCHEMA = 1


def token_of(originator_id: OriginatorId) -> str:
    """The subject token of an originator id; a UUID is its own token.

    Raises:
        ValueError: the id is empty.
    """
    if not str(originator_id):
        raise ValueError("an originator id must not be empty")
    return quote(str(originator_id), safe="").replace(".", "%2E")


def envelope_of(event: StoredEvent) -> Envelope:
    return Envelope(
        id=new_id(),
        type=event.topic,
        schema=_SCHEMA,
        aggregate_id=str(event.originator_id),
        version=event.originator_version,
        at=now(),
        data=msgspec.Raw(
            event.state if _is_object(event.state) else msgspec.json.encode(b64encode(event.state).decode())
        ),
    )


def stored_event_of(message: Message, as_id: AsOriginatorId) -> StoredEvent:
    """The stored event in a message.

    Raises:
        msgspec.DecodeError: the message contains no event.
    """
    envelope = message.envelope()
    return StoredEvent(
        originator_id=as_id(envelope.aggregate_id),
        originator_version=envelope.version,
        topic=envelope.type,
        state=_state(envelope.data),
    )


def notification_of(message: Message, as_id: AsOriginatorId) -> Notification:
    """As `stored_event_of`; its id is the sequence in the stream."""
    event = stored_event_of(message, as_id)
    return Notification(
        id=message.sequence,
        originator_id=event.originator_id,
        originator_version=event.originator_version,
        topic=event.topic,
        state=event.state,
    )


def _state(data: msgspec.Raw) -> bytes:
    raw = bytes(data)
    return raw if raw.startswith(b"{") else msgspec.json.decode(raw, type=bytes)


def _is_object(state: bytes) -> bool:
    if not (state.startswith(b"{") and state.endswith(b"}")):
        return False
    try:
        msgspec.json.decode(state)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True
