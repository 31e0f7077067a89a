"""Where a moment lies in a stream: which events had happened by then.

An event happened at the time that its envelope names, but not later than it was stored, and not before the event that
stands before it in its stream. The envelope's time is what people see, and it comes along when streams are imported
into another system, where everything is stored anew. But clocks of different processes differ by some milliseconds,
and one may be wrong by years. With the last two rules the events up to a moment are always the beginning of a stream,
in its order and without a gap: a state that the system could have been in.
"""

import asyncio
from datetime import datetime
from typing import Annotated

import msgspec
from nats.aio.client import Client as NATS

from contracts.catalogue import UNDECODABLE
from contracts.errors import Unavailable
from contracts.positions import Position
from projections.engine.projection import Projection
from projections.engine.reading.stream_sources import SILENCE_SECONDS, Sources, end_of
from streams.log import Log
from streams.reader import ReadBatch


class _Time(msgspec.Struct):
    """Of an envelope, the time alone."""

    at: Annotated[datetime, msgspec.Meta(tz=True)]


_TIME = msgspec.json.Decoder(_Time)


async def position_at(nc: NATS, projection: type[Projection], moment: datetime) -> Position:
    """How far each of the projection's streams had come at the moment; an event of exactly then had happened.

    Raises:
        Unavailable: the server was silent for too long.
    """
    filters = projection.filters()
    found = {
        stream: await _sequence_at(nc, stream, subject_filter, moment) for stream, subject_filter in filters.items()
    }
    return Position(found)


async def _sequence_at(nc: NATS, stream: str, subject_filter: str | None, moment: datetime) -> int:
    end = await end_of(nc, stream)
    # Whatever was stored by then had happened by then.
    last = await Log(nc).end_before(stream, moment) if end else 0
    if last >= end:
        return end
    after, until = Position.at(stream, last), Position.at(stream, end)
    async with Sources(nc, {stream: subject_filter}, after, name="moment", until=until) as sources:
        while not sources.at_end:
            batch = await _next(sources)
            for message in batch.messages:
                if _time_of(message.payload, moment) > moment:
                    return message.sequence - 1
    return end


async def _next(sources: Sources) -> ReadBatch:
    try:
        async with asyncio.timeout(SILENCE_SECONDS):
            _, batch = await sources.next()
    except TimeoutError as error:
        raise Unavailable("NATS does not answer.") from error
    return batch


def _time_of(payload: bytes, otherwise: datetime) -> datetime:
    """The envelope's time; what is no envelope has none of its own."""
    try:
        return _TIME.decode(payload).at
    except (msgspec.DecodeError, *UNDECODABLE):
        return otherwise
