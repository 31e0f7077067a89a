"""The envelope around every event: JSON in the message's payload, readable with any NATS tool."""

import time
from datetime import UTC, datetime
from typing import Generic, Self, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from contracts import catalogue
from contracts.events.event import Event, Moment
from contracts.values.ids import new_id

E_co = TypeVar("E_co", bound=Event, covariant=True)


class Provenance(msgspec.Struct, frozen=True, kw_only=True):
    """Where an event comes from: its actor, the request and the event that caused it."""

    # User id of the actor, or `operator:` and an operator's login name or account id; None for the system itself.
    actor: str | None = None
    # Our own id of the request that started the chain of events.
    correlation_id: str | None = None
    # The client's id of that request, if it sent one: any text that fits, not unique.
    request_id: str | None = None
    # The id of the event that this one reacts to.
    causation_id: str | None = None
    # W3C trace context.
    traceparent: str | None = None

    @classmethod
    def caused_by(cls, event: "Recorded[Event]", *, actor: str | None = None) -> Self:
        """The provenance of events with which the system reacts to an event."""
        return cls(
            actor=actor, correlation_id=event.correlation_id, causation_id=event.id, traceparent=event.traceparent
        )


class Envelope(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    # UUIDv7; the same id is never stored twice.
    id: str
    type: str
    # Schema version of `data`.
    schema: int
    aggregate_id: str
    # 1, 2, 3, … within the aggregate, without a gap.
    version: int
    # When it was decided, to the millisecond, UTC.
    at: Moment
    actor: str | None = None
    correlation_id: str | None = None
    # Omitted if the client sent none, which is the usual case.
    request_id: str | UnsetType = UNSET
    causation_id: str | None = None
    traceparent: str | None = None
    # The event's own fields, as JSON.
    data: msgspec.Raw


class Recorded(msgspec.Struct, Generic[E_co], frozen=True, kw_only=True, gc=False):
    """An event as read from a stream: its position, its envelope's fields and its decoded data."""

    stream: str
    # Sequence in the stream.
    sequence: int
    subject: str
    id: str
    type: str
    aggregate_id: str
    version: int
    at: datetime
    actor: str | None
    correlation_id: str | None
    causation_id: str | None
    # Names the span that is the parent of what follows from the event.
    traceparent: str | None = None
    data: E_co


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(Envelope)


def now() -> datetime:
    """The current time, UTC, truncated to the millisecond like all event times."""
    return datetime.fromtimestamp(time.time_ns() // 1_000_000 / 1_000, UTC)


def seal(
    event: Event, *, aggregate_id: str, version: int, provenance: Provenance, at: datetime | None = None
) -> Envelope:
    """Wraps a new event in an envelope with a new id."""
    return Envelope(
        id=new_id(),
        type=event.TYPE,
        schema=event.SCHEMA,
        aggregate_id=aggregate_id,
        version=version,
        at=at or now(),
        actor=provenance.actor,
        correlation_id=provenance.correlation_id,
        request_id=provenance.request_id or UNSET,
        causation_id=provenance.causation_id,
        traceparent=provenance.traceparent,
        data=msgspec.Raw(_ENCODER.encode(event)),
    )


def encode(envelope: Envelope) -> bytes:
    return _ENCODER.encode(envelope)


def decode(payload: bytes) -> Envelope:
    """Decodes an envelope; its data stays JSON.

    Raises:
        msgspec.DecodeError: the payload is not an envelope (`msgspec.ValidationError` is a subclass).
    """
    try:
        return _DECODER.decode(payload)
    except catalogue.UNDECODABLE as error:
        raise msgspec.DecodeError(f"JSON is malformed: {error}") from error


def open_event(envelope: Envelope, *, stream: str, sequence: int, subject: str) -> Recorded[Event]:
    """Decodes the envelope's data, upcast to the current schema.

    Raises:
        LookupError: the event type or its schema is unknown to this program, or its personal data is still sealed.
        msgspec.DecodeError: the data is not JSON, or does not have the event's shape.
    """
    data = catalogue.decode(envelope.type, envelope.schema, envelope.data)
    return recorded(envelope, data, stream=stream, sequence=sequence, subject=subject)


def recorded(envelope: Envelope, data: Event, *, stream: str, sequence: int, subject: str) -> Recorded[Event]:
    """The event with its decoded data and its position."""
    return Recorded(
        stream=stream,
        sequence=sequence,
        subject=subject,
        id=envelope.id,
        type=envelope.type,
        aggregate_id=envelope.aggregate_id,
        version=envelope.version,
        at=envelope.at,
        actor=envelope.actor,
        correlation_id=envelope.correlation_id,
        causation_id=envelope.causation_id,
        traceparent=envelope.traceparent,
        data=data,
    )
