"""Limits a server's calls in flight, and refuses new ones once it is stopping."""

import asyncio

from contracts.errors import Overloaded, Unavailable

# More are refused, to bound the work that waits.
MOST_CALLS = 1_000


class InFlightCalls:
    def __init__(self) -> None:
        self.count = 0
        self.stopping = False
        self._idle = asyncio.Event()
        self._idle.set()

    def enter(self) -> None:
        """Counts one more call; the caller must `leave` after it.

        Raises:
            Unavailable: the process is stopping.
            Overloaded: too many calls are in flight.
        """
        if self.stopping:
            raise Unavailable("This process is stopping.")
        if self.count >= MOST_CALLS:
            raise Overloaded(retry_after=1)
        self.count += 1
        self._idle.clear()

    def leave(self) -> None:
        self.count -= 1
        if not self.count:
            self._idle.set()

    async def done(self) -> None:
        """Waits until no call is in flight."""
        await self._idle.wait()
