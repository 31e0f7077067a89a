"""Unix time for the lifetimes of access tokens: it does not go back while the process runs.

Ended sessions are remembered for as long as their tokens are valid. If the clock could go back, a token could outlive
what is remembered of its session.
"""

import time
from collections.abc import Callable


class SteadyTime:
    """The later of two times: the machine's clock, and the process's start plus the time that has passed since."""

    def __init__(
        self, *, clock: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._monotonic = monotonic
        # Unix time at which the monotonic clock was 0, as this process's start has it.
        self._base = clock() - monotonic()

    def now(self) -> float:
        """Unix time in seconds."""
        return max(self._clock(), self._base + self._monotonic())

    @property
    def ahead(self) -> float:
        """Seconds by which the machine's clock has gone back since the start."""
        return self.now() - self._clock()
