"""One stored message, decoded lazily: a replay reads many messages that it does not need to open."""

from datetime import UTC, datetime, timedelta

import msgspec

from contracts import envelope
from contracts.catalogue import SEALED_MARK
from contracts.envelope import Envelope, Recorded
from contracts.events.event import Event


class Message(msgspec.Struct, frozen=True, gc=False):
    """A message as stored in the stream."""

    stream: str
    # Sequence in the stream, from 1.
    sequence: int
    subject: str
    # The envelope in JSON, as stored.
    payload: bytes
    # When the server stored it, in nanoseconds of Unix time; converted to a date on access only.
    stored_ns: int | None = None
    # The stored headers, if they were requested.
    headers: dict[str, str] | None = None
    # The decoded event, if it is shared between several readers, or was stored sealed.
    opened: Recorded[Event] | None = None

    @property
    def stored_at(self) -> datetime | None:
        """The time at which the server stored it, UTC, to the nearest microsecond; None if unknown."""
        return None if self.stored_ns is None else _EPOCH + timedelta(microseconds=(self.stored_ns + 500) // 1000)

    def envelope(self) -> Envelope:
        """Decodes the envelope; its data stays JSON. Personal data is in it as in the event that was opened.

        Raises:
            msgspec.DecodeError: the payload is not an envelope.
        """
        stored = envelope.decode(self.payload)
        if self.opened is None or SEALED_MARK not in self.payload:
            return stored
        data = self.opened.data
        return msgspec.structs.replace(stored, schema=data.SCHEMA, data=msgspec.Raw(msgspec.json.encode(data)))

    def open(self) -> Recorded[Event]:
        """Decodes the event, its data upcast to the current schema.

        Raises:
            msgspec.DecodeError: the payload is not an envelope, or its data does not have the event's shape.
            LookupError: the event type or its schema is unknown to this program.
        """
        if self.opened is not None:
            return self.opened
        return envelope.open_event(self.envelope(), stream=self.stream, sequence=self.sequence, subject=self.subject)

    def event_id(self) -> str:
        """The event's id, read without decoding the rest."""
        return _IDENTITY.decode(self.payload).id


def nanoseconds_of(text: str) -> int:
    """Nanoseconds of Unix time of the server's RFC 3339 text, which has up to nine fractional digits."""
    second, _, fraction = text.removesuffix("Z").partition(".")
    moment = datetime.fromisoformat(second).replace(tzinfo=UTC)
    return (moment - _EPOCH) // timedelta(seconds=1) * 1_000_000_000 + int(fraction.ljust(9, "0"))


class _Identity(msgspec.Struct):
    id: str


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_IDENTITY = msgspec.json.Decoder(_Identity)
