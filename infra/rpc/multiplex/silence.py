"""Detects that a replica is silent: its process hangs or its host is gone, and the connection does not show it.

A slow call is no sign of that, and a busy replica is late with everything. So a replica that owes answers is asked with
a PING, which its event loop answers whatever its handlers do. A silent replica gets no new calls while there are
others, and counts again with its next sign of life.
"""

import asyncio
from collections.abc import Callable

# Seconds without a sign of life, with calls unanswered, after which a PING is sent, and its answer is overdue.
_PING_AFTER, _ANSWER_WITHIN = 0.75, 1.0
_CHECK_SECONDS = 0.2
# A longer gap between two looks means that this process was not scheduled: answers may have arrived unread.
_STALL = 0.5


class SilenceWatch:
    """Watches one stream while calls wait on it."""

    def __init__(self, ping: Callable[[], None], silent: Callable[[], None], waits: Callable[[], bool]) -> None:
        """`silent`: called when the replica has become silent, and at each look while it is.

        `waits`: whether a call waits.
        """
        self._ping = ping
        self._waits = waits
        self._on_silent = silent
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._checked_at = 0.0
        # Loop times: since when a sign of life is awaited, and of the PING that is not answered.
        self._since = 0.0
        self._pinged: float | None = None
        self.silent = False

    def begin(self) -> None:
        """A call begins to wait, and no other does."""
        self._since = self._loop.time()
        if self._timer is None:
            self._checked_at = self._since
            self._timer = self._loop.call_later(_CHECK_SECONDS, self._check)

    def on_received(self) -> None:
        """Records that the replica has sent something."""
        self._since = self._loop.time()
        self._pinged = None
        self.silent = False

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _check(self) -> None:
        # A timer for each call would be a good part of its cost: this one ends a little later than they do.
        if not self._waits():
            self._timer = None
            return
        # First: the functions may end the last call, or raise an error.
        self._timer = self._loop.call_later(_CHECK_SECONDS, self._check)
        now = self._loop.time()
        gap, self._checked_at = now - self._checked_at, now
        if gap > _STALL:
            self._since += gap
            if self._pinged is not None:
                self._pinged += gap
        if self._pinged is None:
            if now - self._since >= _PING_AFTER:
                self._pinged = now
                self._ping()
        elif now - self._pinged >= _ANSWER_WITHIN:
            self.silent = True
        if self.silent:
            self._on_silent()
