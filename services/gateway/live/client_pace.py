"""Measures how fast a client reads while sends wait for it; a client that is too slow is dropped.

It reconnects and resumes from the last position that it received.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

# Seconds in which a waiting send must finish.
PATIENCE = 30.0
# Lowest rate in bytes per second, checked after each minute of waiting.
LEAST_RATE = 4 * 1024
_WINDOW = 60.0


class Pace:
    """The pace of one connection; several tasks may send on it."""

    __slots__ = ("_bytes", "_clock", "_patience", "_since", "_waited", "_waiters")

    def __init__(self, patience: float = PATIENCE, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._patience = patience
        self._clock = clock
        # Bytes taken, and seconds waited, since the last check.
        self._bytes = 0
        self._waited = 0.0
        self._waiters = 0
        self._since = 0.0

    def took(self, size: int) -> None:
        """Counts bytes that were sent without waiting."""
        self._bytes += size

    async def wait(self, sending: Awaitable[None], size: int) -> None:
        """Waits until `size` bytes are sent.

        Raises:
            TimeoutError: the client reads nothing, or too slowly.
        """
        if not self._waiters:
            self._since = self._clock()
        self._waiters += 1
        try:
            async with asyncio.timeout(self._patience):
                await sending
        finally:
            self._waiters -= 1
            now = self._clock()
            self._waited += now - self._since
            self._since = now
        self._bytes += size
        if self._waited >= _WINDOW:
            sent_bytes, waited = self._bytes, self._waited
            self._bytes, self._waited = 0, 0.0
            if sent_bytes < LEAST_RATE * waited:
                raise TimeoutError
