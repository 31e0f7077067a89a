"""The position that each user's reads must have reached, so that a client of one gateway needs no header for it.

A user's own writes count until they are evicted. Other users' writes that concern them count for a moment only: read
models show them by then, and if one lags, its readers must not be refused because of other users.
"""

import time

from contracts.positions import Position
from streams.lru_cache import LruCache

_USERS = 100_000
# Longer than any read model that keeps up needs.
_MOMENT_SECONDS = 2.0
_NOWHERE = Position()


class LatestPositions:
    """Two bounded maps; the entry updated longest ago is evicted first."""

    def __init__(self, capacity: int = _USERS) -> None:
        self._written: LruCache[str, Position] = LruCache(capacity)
        # What other users wrote, and until when (`time.monotonic`) it counts.
        self._concerning: LruCache[str, tuple[Position, float]] = LruCache(capacity)

    def of(self, user_id: str) -> Position:
        """The position of the user's own writes."""
        return self._written.peek(user_id) or _NOWHERE

    def required_for(self, user_id: str) -> Position:
        """The position that a read or a command of the user must have reached."""
        own = self._written.peek(user_id) or _NOWHERE
        entry = self._concerning.peek(user_id)
        if entry is None:
            return own
        others, until = entry
        if until < time.monotonic():
            self._concerning.discard(user_id)
            return own
        return own.merge(others)

    def remember(self, user_id: str, position: Position) -> None:
        """Records that the user has written up to the position; never goes back."""
        before = self._written.peek(user_id)
        self._written.put(user_id, position if before is None else before.merge(position))

    def remember_for_peer(self, user_id: str, position: Position) -> None:
        """Records for a moment that another user's write up to the position concerns this user."""
        before = self._concerning.peek(user_id)
        merged = position if before is None else before[0].merge(position)
        self._concerning.put(user_id, (merged, time.monotonic() + _MOMENT_SECONDS))
