"""The position that each user's reads must have reached, so that a client of one gateway needs no header for it.

A user's own writes count until they are evicted. Other users' writes that concern them count for a moment only: read
models show them by then, and if one lags, its readers must not be refused because of other users.
"""

import time
from collections import OrderedDict

from contracts.positions import Position

_USERS = 100_000
# Longer than any read model that keeps up needs.
_MOMENT_SECONDS = 2.0
_NOWHERE = Position()


class LatestPositions:
    """Two bounded maps; the entry updated longest ago is evicted first."""

    def __init__(self, capacity: int = _USERS) -> None:
        self._capacity = capacity
        self._written: OrderedDict[str, Position] = OrderedDict()
        # What other users wrote, and until when (`time.monotonic`) it counts.
        self._concerning: OrderedDict[str, tuple[Position, float]] = OrderedDict()

    def of(self, user_id: str) -> Position:
        """The position of the user's own writes."""
        return self._written.get(user_id, _NOWHERE)

    def required_for(self, user_id: str) -> Position:
        """The position that a read or a command of the user must have reached."""
        own = self._written.get(user_id, _NOWHERE)
        found = self._concerning.get(user_id)
        if found is None:
            return own
        others, until = found
        if until < time.monotonic():
            del self._concerning[user_id]
            return own
        return own.merge(others)

    def remember(self, user_id: str, position: Position) -> None:
        """Records that the user has written up to the position; never goes back."""
        before = self._written.get(user_id)
        self._written[user_id] = position if before is None else before.merge(position)
        self._written.move_to_end(user_id)
        if len(self._written) > self._capacity:
            self._written.popitem(last=False)

    def remember_for_peer(self, user_id: str, position: Position) -> None:
        """Records for a moment that another user's write up to the position concerns this user."""
        before = self._concerning.get(user_id)
        self._concerning[user_id] = (
            position if before is None else before[0].merge(position),
            time.monotonic() + _MOMENT_SECONDS,
        )
        self._concerning.move_to_end(user_id)
        if len(self._concerning) > self._capacity:
            self._concerning.popitem(last=False)
