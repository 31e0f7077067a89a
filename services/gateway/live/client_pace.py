"""How fast a client takes what is sent to it, measured while it is waited for; one that is too slow is dropped.

It comes again with the last position that it got and goes on from there.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

# Seconds in which a client must take something of what is on its way to it.
PATIENCE = 30.0
# Bytes a second that a client must have taken for each minute that it was waited for.
LEAST_RATE = 4 * 1024
_WINDOW = 60.0


class Pace:
    """Of one connection; several tasks may send on it."""

    __slots__ = ("_bytes", "_clock", "_patience", "_since", "_waited", "_waiters")

    def __init__(self, patience: float = PATIENCE, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._patience = patience
        self._clock = clock
        # Taken, and seconds waited for it, since the last minute of waiting was over.
        self._bytes = 0
        self._waited = 0.0
        self._waiters = 0
        self._since = 0.0

    def took(self, size: int) -> None:
        """The client took so many bytes without being waited for."""
        self._bytes += size

    async def wait(self, sending: Awaitable[None], size: int) -> None:
        """Waits until so many bytes are sent.

        Raises:
            TimeoutError: the client takes nothing, or too little.
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
            taken, waited = self._bytes, self._waited
            self._bytes, self._waited = 0, 0.0
            if taken < LEAST_RATE * waited:
                raise TimeoutError
