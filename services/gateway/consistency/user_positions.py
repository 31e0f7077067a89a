"""How far each user's reads have to have seen, so that a client of one gateway needs no header for it.

What somebody wrote themselves counts until it is forgotten. What others wrote that concerns them counts for a moment
only: read models show it by then, and where one does not, its readers are not to be refused for what others did.
"""

import time
from collections import OrderedDict

from contracts.positions import Position

_USERS = 100_000
# Longer than a read model that keeps up ever needs.
_MOMENT_SECONDS = 2.0
_NOWHERE = Position()


class LatestPositions:
    """Two bounded maps; the user who has been quiet the longest is forgotten first."""

    def __init__(self, capacity: int = _USERS) -> None:
        self._capacity = capacity
        self._written: OrderedDict[str, Position] = OrderedDict()
        # Until when (of `time.monotonic`) what others wrote counts.
        self._concerning: OrderedDict[str, tuple[Position, float]] = OrderedDict()

    def of(self, user_id: str) -> Position:
        """Of the user's own writes."""
        return self._written.get(user_id, _NOWHERE)

    def required_for(self, user_id: str) -> Position:
        """What a read or a command of the user has to have seen."""
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
        """Keeps that the user has written up to the position; never goes back."""
        before = self._written.get(user_id)
        self._written[user_id] = position if before is None else before.merge(position)
        self._written.move_to_end(user_id)
        if len(self._written) > self._capacity:
            self._written.popitem(last=False)

    def remember_for_peer(self, user_id: str, position: Position) -> None:
        """Keeps for a moment that somebody else has written up to the position what the user will want to see."""
        before = self._concerning.get(user_id)
        self._concerning[user_id] = (
            position if before is None else before[0].merge(position),
            time.monotonic() + _MOMENT_SECONDS,
        )
        self._concerning.move_to_end(user_id)
        if len(self._concerning) > self._capacity:
            self._concerning.popitem(last=False)
