"""The calls that a server has at work: only so many, and none that is new once it stops."""

import asyncio

from contracts.errors import Overloaded, Unavailable

# More are refused, so that what waits stays bounded.
MOST_CALLS = 1_000


class InFlightCalls:
    def __init__(self) -> None:
        self.count = 0
        self.stopping = False
        self._idle = asyncio.Event()
        self._idle.set()

    def enter(self) -> None:
        """One more; whoever entered has to `leave`.

        Raises:
            Unavailable: the process is stopping.
            Overloaded: there are too many.
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
        """Waits until there is none."""
        await self._idle.wait()
