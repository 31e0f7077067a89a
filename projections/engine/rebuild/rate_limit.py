"""Limits the events that a rebuild reads in a second: a token bucket, paid for after a batch."""

import asyncio
import time
from collections.abc import Callable


class RateLimit:
    """Allows `per_second` events a second; after a pause as many as that at once."""

    def __init__(self, per_second: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.per_second = per_second
        self._clock = clock
        self._tokens = 0.0
        self._filled_at = clock()

    def spend(self, events: int) -> None:
        """Takes tokens for events that were applied; the bucket may owe some."""
        self._fill()
        self._tokens -= events

    @property
    def seconds_left(self) -> float:
        """Seconds until the bucket's debt is paid."""
        self._fill()
        return max(0.0, -self._tokens / self.per_second)

    async def wait(self) -> None:
        """Returns when the bucket owes nothing."""
        await asyncio.sleep(self.seconds_left)

    def _fill(self) -> None:
        now = self._clock()
        self._tokens = min(self.per_second, self._tokens + (now - self._filled_at) * self.per_second)
        self._filled_at = now
