"""Finds an event by its id: the id is a UUIDv7, so its time leads to a short stretch of each stream."""

import asyncio
from collections.abc import Sequence
from uuid import UUID

import msgspec
from nats.aio.client import Client

from contracts.values.ids import is_id
from infra.operator_errors import OperatorError
from streams.jetstream.api import JetStream
from streams.log import Log
from streams.message import Message
from streams.reader import Reader

# Most difference between the order of a stream and that of the times in its ids, in milliseconds: clocks differ.
SKEW_MS = 120_000
_BATCH = 1_000
_UUIDV7 = 7


class NoSuchEvent(OperatorError):
    def __init__(self, event_id: str, streams: Sequence[str]) -> None:
        super().__init__(f"no event of {', '.join(streams)} has the id {event_id}")


async def find_event(nc: Client, event_id: str, streams: Sequence[str]) -> Message:
    """The event with its headers, from any of the streams.

    Raises:
        NoSuchEvent: there is none within two minutes of the id's time.
        Unavailable: NATS does not answer.
    """
    if not is_id(event_id) or UUID(event_id).version != _UUIDV7:
        raise OperatorError(f"{event_id} is not the id of an event: a UUIDv7")
    matches = await asyncio.gather(*(_find_in(nc, stream, event_id) for stream in streams))
    if (message := next(filter(None, matches), None)) is None:
        raise NoSuchEvent(event_id, streams)
    return message


async def _find_in(nc: Client, stream: str, event_id: str) -> Message | None:
    end = await Log(nc).end_of(stream)
    moment = _ms_of(event_id)
    after = await _last_before(JetStream(nc), stream, end, moment - SKEW_MS)
    wanted = event_id.encode()
    async with Reader(nc, stream, after=after, name="audit-lookup", headers=True, buffer=2 * _BATCH) as reader:
        position = after
        while position < end:
            batch = await reader.next(_BATCH)
            for message in batch.messages:
                if wanted in message.payload and _id_of(message) == event_id:
                    return message
            last = _time_of(batch.messages[-1]) if batch.messages else None
            if last is not None and last > moment + SKEW_MS:
                return None
            position = batch.position
    return None


async def _last_before(jetstream: JetStream, stream: str, end: int, moment: int) -> int:
    """The last sequence of the stream before the ids' times reach the moment; by bisection, 0 if all are later.

    `moment`: milliseconds of Unix time.
    """
    low, high = 0, end
    while low < high:
        middle = (low + high + 1) // 2
        message = await jetstream.next(stream, ">", middle - 1)
        while message is not None and message.sequence <= high and _time_of(message) is None:
            message = await jetstream.next(stream, ">", message.sequence)
        if message is None or message.sequence > high:
            high = middle - 1
        elif (_time_of(message) or 0) < moment:
            low = max(middle, message.sequence)
        else:
            high = middle - 1
    return low


def _id_of(message: Message) -> str:
    try:
        return message.event_id()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""


def _time_of(message: Message) -> int | None:
    """The time at which the event's id was made, in milliseconds of Unix time; None if it has no such id."""
    event_id = _id_of(message)
    return _ms_of(event_id) if is_id(event_id) else None


def _ms_of(event_id: str) -> int:
    return int(event_id[:8] + event_id[9:13], 16)
