"""Handles bursts of items in batches: the first item immediately, the following ones at the end of the second."""

import asyncio
from collections.abc import Callable, Collection, Iterable
from typing import Generic, TypeVar

T = TypeVar("T")
PAUSE_SECONDS = 1.0


class Bursts(Generic[T]):
    """For effects that cost the same for one thing as for many; to be used within an event loop."""

    def __init__(self, handle: Callable[[Collection[T]], None], *, pause: float = PAUSE_SECONDS) -> None:
        self._handle = handle
        self._pause = pause
        self._waiting: set[T] = set()
        self._pauses = False

    def add(self, things: Iterable[T]) -> None:
        self._waiting.update(things)
        if not self._pauses:
            self._hand_over()

    def _hand_over(self) -> None:
        self._pauses = bool(self._waiting)
        if not self._waiting:
            return
        things, self._waiting = self._waiting, set()
        asyncio.get_running_loop().call_later(self._pause, self._hand_over)
        self._handle(things)
