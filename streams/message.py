"""One stored message, decoded only as far as somebody asks: replay reads many that it does not need to open."""

from datetime import UTC, datetime, timedelta

import msgspec

from contracts import envelope
from contracts.envelope import Envelope, Recorded
from contracts.events.event import Event


class Message(msgspec.Struct, frozen=True, gc=False):
    """A message as the stream holds it."""

    stream: str
    # In the stream, from 1.
    sequence: int
    subject: str
    # The envelope in JSON.
    payload: bytes
    # When the server stored it, in nanoseconds of Unix time: made a date only where somebody asks.
    stored_ns: int | None = None
    # Those that it was stored with, where they were asked for.
    headers: dict[str, str] | None = None
    # The event, where it was opened already, for several who read it.
    opened: Recorded[Event] | None = None

    @property
    def stored_at(self) -> datetime | None:
        """When the server stored it, UTC, to the nearest microsecond; None where it was not said."""
        return None if self.stored_ns is None else _EPOCH + timedelta(microseconds=(self.stored_ns + 500) // 1000)

    def envelope(self) -> Envelope:
        """The envelope, its data still in JSON.

        Raises:
            msgspec.DecodeError: the payload is no envelope.
        """
        return envelope.decode(self.payload)

    def open(self) -> Recorded[Event]:
        """The event, its data decoded and upcast to today's shape.

        Raises:
            msgspec.DecodeError: the payload is no envelope, or its data does not have the event's shape.
            LookupError: an event type or schema that this program does not know.
        """
        if self.opened is not None:
            return self.opened
        return envelope.open_event(self.envelope(), stream=self.stream, sequence=self.sequence, subject=self.subject)

    def event_id(self) -> str:
        """The event's id, read without decoding the rest."""
        return _IDENTITY.decode(self.payload).id


def nanoseconds_of(text: str) -> int:
    """The server's RFC 3339, up to nine digits behind the second, as nanoseconds of Unix time."""
    second, _, fraction = text.removesuffix("Z").partition(".")
    moment = datetime.fromisoformat(second).replace(tzinfo=UTC)
    return (moment - _EPOCH) // timedelta(seconds=1) * 1_000_000_000 + int(fraction.ljust(9, "0"))


class _Identity(msgspec.Struct):
    id: str


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_IDENTITY = msgspec.json.Decoder(_Identity)
