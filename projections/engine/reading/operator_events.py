"""Reads all events of the stream OPERATOR that pass a filter; services may read few of them."""

import asyncio

from nats.aio.client import Client as NATS

from contracts.errors import Unavailable
from contracts.subjects import OPERATOR
from streams.message import Message
from streams.reader import Reader

# Seconds allowed for reading.
_PATIENCE = 10.0


async def operator_events(nc: NATS, subject_filter: str, *, name: str) -> list[Message]:
    """Yields every matching event that was appended before this call, oldest first.

    `name`: part of the consumer's name.

    Raises:
        Unavailable: NATS does not answer, or this user may not read OPERATOR.
        StreamMissing: there is no stream OPERATOR.
    """
    messages: list[Message] = []
    try:
        async with (
            asyncio.timeout(_PATIENCE),
            Reader(
                nc, OPERATOR, subject_filter=subject_filter, name=name, patience=1.0, outlasts_refusals=True
            ) as reader,
        ):
            async for batch in reader.batches():
                messages += batch.messages
                if batch.pending == 0:
                    return messages
    except TimeoutError as error:
        raise Unavailable(f"NATS does not answer; the {name} are unknown.") from error
    except PermissionError as error:
        # Usually the permissions at the server are out of date.
        raise Unavailable(f"The {name} are unknown: {error}.") from error
    raise AssertionError("a reader has no end")
