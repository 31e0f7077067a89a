"""The envelope around every event: JSON in the message's payload, readable with any NATS tool."""

import time
from datetime import UTC, datetime
from typing import Generic, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from contracts import catalogue
from contracts.events.event import Event, Moment
from contracts.values.ids import new_id

E_co = TypeVar("E_co", bound=Event, covariant=True)


class Provenance(msgspec.Struct, frozen=True, kw_only=True):
    """Where an event comes from: who caused it, in which request, in the wake of which event."""

    # User id of whoever acted, or `operator:<name>`; None for the system itself.
    actor: str | None = None
    # Our own id of the request that began it all.
    correlation_id: str | None = None
    # The client's id of that request, where it gave one: anything that fits, and not unique.
    request_id: str | None = None
    # The id of the event that this one reacts to.
    causation_id: str | None = None
    # W3C trace context.
    traceparent: str | None = None


class Envelope(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    # UUIDv7; the same id is never stored twice.
    id: str
    type: str
    # Version of the data's shape.
    schema: int
    aggregate_id: str
    # 1, 2, 3, … within the aggregate, without a gap.
    version: int
    # When it was decided, to the millisecond, UTC.
    at: Moment
    actor: str | None = None
    correlation_id: str | None = None
    # Left out where the client gave none, as of most.
    request_id: str | UnsetType = UNSET
    causation_id: str | None = None
    traceparent: str | None = None
    # The event's own fields, as JSON.
    data: msgspec.Raw


class Recorded(msgspec.Struct, Generic[E_co], frozen=True, kw_only=True, gc=False):
    """An event as it was read from a stream: where it stands, its envelope's fields and its decoded data."""

    stream: str
    # In the stream.
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
    data: E_co


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(Envelope)


def now() -> datetime:
    """The present, UTC, cut to the millisecond as all times of events are."""
    return datetime.fromtimestamp(time.time_ns() // 1_000_000 / 1_000, UTC)


def seal(
    event: Event, *, aggregate_id: str, version: int, provenance: Provenance, at: datetime | None = None
) -> Envelope:
    """Puts a new event into its envelope, with an id of its own."""
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
    """Reads an envelope, its data still in JSON.

    Raises:
        msgspec.DecodeError: the payload is no envelope (`msgspec.ValidationError` is one of these).
    """
    try:
        return _DECODER.decode(payload)
    except catalogue.UNDECODABLE as error:
        raise msgspec.DecodeError(f"JSON is malformed: {error}") from error


def open_event(envelope: Envelope, *, stream: str, sequence: int, subject: str) -> Recorded[Event]:
    """Decodes the data too, upcast to today's shape.

    Raises:
        LookupError: an event type or schema that this program does not know.
        msgspec.DecodeError: the data is no JSON, or does not have the event's shape.
    """
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
        data=catalogue.decode(envelope.type, envelope.schema, envelope.data),
    )
