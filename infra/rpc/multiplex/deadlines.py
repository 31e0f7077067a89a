"""Deadlines of many calls, checked periodically by one timer: a timer per call would be a good part of its cost."""

import asyncio
from collections.abc import Callable

# Seconds between two checks, and so the most by which a call may end late.
_CHECK_SECONDS = 0.02


class Deadlines:
    def __init__(self, expire: Callable[[int], None]) -> None:
        """`expire`: called for each call whose deadline has passed."""
        self._expire = expire
        self._due: dict[int, float] = {}
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    def set(self, number: int, seconds: float) -> float:
        """Starts a deadline; returns the current loop time."""
        now = self._loop.time()
        self._due[number] = now + seconds
        if self._timer is None:
            self._timer = self._loop.call_later(_CHECK_SECONDS, self._check)
        return now

    def drop(self, number: int) -> None:
        self._due.pop(number, None)

    def stop(self) -> None:
        """Drops all deadlines."""
        self._due.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _check(self) -> None:
        now = self._loop.time()
        over = [number for number, due in self._due.items() if due <= now]
        for number in over:
            del self._due[number]
            self._expire(number)
        self._timer = self._loop.call_later(_CHECK_SECONDS, self._check) if self._due else None
