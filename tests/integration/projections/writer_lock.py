"""A stream that grows as fast as it can, and for how long its read model's writer is locked out meanwhile."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from psycopg import errors

from projections.engine.storage.connections import connect
from tests.integration.projections.event_writer import Writer

# As a writer does before each batch.
_AS_A_WRITER = "SELECT FROM projection_builds WHERE state = 'live' FOR SHARE NOWAIT"


class Growth:
    """The last sequence that was appended."""

    last = 0


@asynccontextmanager
async def growing(writer: Writer, conversations: Sequence[str]) -> AsyncIterator[Growth]:
    """Appends to the conversations until the block ends."""
    growth, stop = Growth(), asyncio.Event()

    async def write(conversation: str) -> None:
        while not stop.is_set():
            growth.last = max(growth.last, await writer.say(conversation, *(["text"] * 20)))

    writing = [asyncio.create_task(write(conversation)) for conversation in conversations]
    try:
        yield growth
    finally:
        stop.set()
        await asyncio.gather(*writing)


@asynccontextmanager
async def held_up(database_url: str) -> AsyncIterator[Callable[[], float]]:
    """Measures the longest time in seconds for which a writer of the live build had to wait."""
    longest, over = 0.0, asyncio.Event()

    async def measure() -> None:
        nonlocal longest
        conn = await connect(database_url, "a test")
        async with conn:
            free_at = time.monotonic()
            while not over.is_set():
                try:
                    await conn.execute(_AS_A_WRITER)
                    longest, free_at = max(longest, time.monotonic() - free_at), time.monotonic()
                except errors.LockNotAvailable:
                    longest = max(longest, time.monotonic() - free_at)
                await asyncio.sleep(0.01)

    measuring = asyncio.create_task(measure())
    try:
        yield lambda: longest
    finally:
        over.set()
        await measuring
