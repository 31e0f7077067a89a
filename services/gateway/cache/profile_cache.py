"""Bounded cache of profiles as bytes with their ETag, never older than the events that the streams have delivered.

An event about a user sets a floor: the lowest position that an entry of that user must have reached. So a change
evicts the entry, and a read model that is behind cannot put the old one back.
"""

from collections import OrderedDict

import msgspec

from contracts.positions import Position

_PROFILES = 10_000
_FLOORS = 100_000


class CachedProfile(msgspec.Struct, frozen=True):
    """A profile as the profile service sent it."""

    body: bytes
    # Including the quotes.
    etag: str
    # What the read model had seen when it answered.
    position: Position


class ProfileCache:
    """LRU cache of profiles, bounded, with a floor per user."""

    def __init__(self, *, profiles: int = _PROFILES, floors: int = _FLOORS) -> None:
        self._most_profiles = profiles
        self._most_floors = floors
        self._profiles: OrderedDict[str, CachedProfile] = OrderedDict()
        self._floors: OrderedDict[str, Position] = OrderedDict()
        # The floor of all users whose own was evicted: the merge of the evicted floors.
        self._forgotten = Position()

    def __len__(self) -> int:
        return len(self._profiles)

    def get(self, user_id: str) -> CachedProfile | None:
        found = self._profiles.get(user_id)
        if found is not None:
            self._profiles.move_to_end(user_id)
        return found

    def put(self, user_id: str, profile: CachedProfile) -> bool:
        """Stores the profile unless it is below the user's floor; returns whether it did."""
        floor = self._floors.get(user_id, self._forgotten)
        if not profile.position.covers(floor):
            return False
        self._profiles[user_id] = profile
        self._profiles.move_to_end(user_id)
        if len(self._profiles) > self._most_profiles:
            self._profiles.popitem(last=False)
        return True

    def changed(self, user_id: str, stream: str, sequence: int) -> None:
        """Raises the user's floor, and evicts an entry below it."""
        floor = self._floors.pop(user_id, Position()).merge(Position.at(stream, sequence))
        self._floors[user_id] = floor
        if len(self._floors) > self._most_floors:
            _, oldest = self._floors.popitem(last=False)
            self._forgotten = self._forgotten.merge(oldest)
        kept = self._profiles.get(user_id)
        if kept is not None and not kept.position.covers(floor):
            del self._profiles[user_id]

    def followed_from(self, stream: str, sequence: int) -> None:
        """Starts following a stream after the sequence; every entry must have seen all earlier changes."""
        self._forgotten = self._forgotten.merge(Position.at(stream, sequence))
        self._profiles.clear()
