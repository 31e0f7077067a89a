"""One stored message, decoded only as far as somebody asks: replay reads many that it does not need to open."""

from datetime import UTC, datetime, timedelta

import msgspec

from contracts import envelope
from contracts.envelope import Envelope, Recorded
from contracts.event import Event


class Message(msgspec.Struct, frozen=True):
    """A message as the stream holds it."""

    stream: str
    # In the stream, from 1.
    sequence: int
    subject: str
    # The envelope in JSON.
    payload: bytes
    # When the server stored it, UTC.
    stored_at: datetime | None = None

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
        return envelope.open_event(self.envelope(), stream=self.stream, sequence=self.sequence, subject=self.subject)

    def event_id(self) -> str:
        """The event's id, read without decoding the rest."""
        return _IDENTITY.decode(self.payload).id


def moment_of(nanoseconds: int) -> datetime:
    """The server's clock, nanoseconds of Unix time, to the nearest microsecond."""
    return _EPOCH + timedelta(microseconds=(nanoseconds + 500) // 1000)


class _Identity(msgspec.Struct):
    id: str


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_IDENTITY = msgspec.json.Decoder(_Identity)
