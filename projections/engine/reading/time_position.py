"""Maps a point in time to stream positions: the events that had happened by then.

An event happened at the time in its envelope, but not later than it was stored, and not before the preceding event of
its stream. Users see the envelope's time, and it is kept when streams are imported into another system, where every
event is stored again. But the clocks of different processes differ by some milliseconds, and one may be wrong by years.
The last two rules make the events up to a time a prefix of the stream, in order and without gaps: a state that the
system could have been in.
"""

import asyncio
from datetime import datetime
from typing import Annotated
from uuid import uuid4

import msgspec
from nats.aio.client import Client as NATS

from contracts.catalogue import UNDECODABLE
from contracts.errors import Unavailable
from contracts.positions import Position
from projections.engine.projection import Projection
from projections.engine.reading.stream_sources import SILENCE_SECONDS, Sources, end_of
from streams.jetstream.api import JetStream
from streams.jetstream.subject_reader import reachable
from streams.personal_data.reading import PersonalData
from streams.reader import ReadBatch


class _Time(msgspec.Struct):
    """Decodes an envelope's time only."""

    at: Annotated[datetime, msgspec.Meta(tz=True)]


class _Delivered(msgspec.Struct):
    stream_seq: int = 0


class _Created(msgspec.Struct):
    """A new consumer: it has delivered nothing, and begins after this sequence."""

    delivered: _Delivered


_TIME = msgspec.json.Decoder(_Time)
_CREATED = msgspec.json.Decoder(_Created)
_CONSUMER_NANOSECONDS = 5_000_000_000


async def position_at(nc: NATS, projection: type[Projection], moment: datetime) -> Position:
    """The position of the projection's streams at the given time, inclusive.

    Raises:
        Unavailable: the server did not respond in time.
    """
    filters = projection.filters()
    ends = {
        stream: await _sequence_at(nc, stream, subject_filter, moment) for stream, subject_filter in filters.items()
    }
    return Position(ends)


async def _sequence_at(nc: NATS, stream: str, subject_filter: str | None, moment: datetime) -> int:
    end = await end_of(nc, stream)
    # An event that was stored by then had happened by then.
    last = await _stored_before(nc, stream, subject_filter, moment) if end else 0
    if last >= end:
        return end
    after, until = Position.at(stream, last), Position.at(stream, end)
    # Needs no keys.
    stored = PersonalData.STORED
    async with Sources(
        nc, {stream: subject_filter}, after, name="moment", until=until, personal_data=stored
    ) as sources:
        while not sources.at_end:
            batch = await _next(sources)
            for message in batch.messages:
                if _time_of(message.payload, moment) > moment:
                    return message.sequence - 1
    return end


async def _stored_before(nc: NATS, stream: str, subject_filter: str | None, moment: datetime) -> int:
    """The last sequence before the events that were stored at `moment` or later, or an earlier one.

    From a new consumer, since services may create one on the streams of others, and request no single event.
    """
    name = f"moment-{uuid4().hex}"
    config: dict[str, object] = {
        "name": name,
        "deliver_policy": "by_start_time",
        "opt_start_time": moment.isoformat(),
        "ack_policy": "none",
        "mem_storage": True,
        "num_replicas": 1,
        "inactive_threshold": _CONSUMER_NANOSECONDS,
    }
    call = f"CONSUMER.CREATE.{stream}.{name}"
    if subject_filter is not None:
        config["filter_subject"] = subject_filter
        call += f".{subject_filter}"
    request = {"stream_name": stream, "action": "create", "config": config}
    created = await reachable(JetStream(nc).ask(call, request, _CREATED))
    await nc.publish(f"$JS.API.CONSUMER.DELETE.{stream}.{name}", b"")
    return created.delivered.stream_seq


async def _next(sources: Sources) -> ReadBatch:
    try:
        async with asyncio.timeout(SILENCE_SECONDS):
            _, batch = await sources.next()
    except TimeoutError as error:
        raise Unavailable("NATS does not answer.") from error
    return batch


def _time_of(payload: bytes, otherwise: datetime) -> datetime:
    """The envelope's time; `otherwise` for a payload that is not an envelope."""
    try:
        return _TIME.decode(payload).at
    except (msgspec.DecodeError, *UNDECODABLE):
        return otherwise
