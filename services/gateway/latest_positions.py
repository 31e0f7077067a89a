"""The latest position of each user's own writes, so that a client of one gateway sees them without a header."""

from collections import OrderedDict

from contracts.positions import Position

_USERS = 100_000


class LatestPositions:
    """A bounded map; the user who has been quiet the longest is forgotten first."""

    def __init__(self, capacity: int = _USERS) -> None:
        self._capacity = capacity
        self._positions: OrderedDict[str, Position] = OrderedDict()

    def of(self, user_id: str) -> Position:
        return self._positions.get(user_id, Position())

    def remember(self, user_id: str, position: Position) -> None:
        """Keeps that the user has written up to the position; never goes back."""
        self._positions[user_id] = self.of(user_id).merge(position)
        self._positions.move_to_end(user_id)
        if len(self._positions) > self._capacity:
            self._positions.popitem(last=False)
