"""Signs of life of a process's event loop, for the supervisor that started it."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

# Seconds between two signs of life.
INTERVAL = 0.5


@asynccontextmanager
async def heartbeat(descriptor: int) -> AsyncIterator[None]:
    """While open, writes a byte into the pipe at regular times; closes it at the end. -1: nothing watches this process.

    A process that ends in order is not watched while it ends.
    """
    if descriptor < 0:
        yield
        return
    os.set_inheritable(descriptor, False)
    os.set_blocking(descriptor, False)
    beating = asyncio.create_task(_beat(descriptor), name="heartbeat")
    try:
        yield
    finally:
        beating.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await beating
        os.close(descriptor)


async def _beat(descriptor: int) -> None:
    while True:
        # A full pipe (the supervisor hangs) or one without a reader (it has ended) is no concern of this process.
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            os.write(descriptor, b".")
        await asyncio.sleep(INTERVAL)
