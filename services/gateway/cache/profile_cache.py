"""Bounded cache of profiles as bytes with their ETag, never older than the events that the streams have delivered.

An event about a user sets a floor: the lowest position that an entry of that user must have reached. So a change
evicts the entry, and a read model that is behind cannot put the old one back.
"""

import msgspec

from contracts.positions import Position
from streams.lru_cache import LruCache

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
        self._profiles: LruCache[str, CachedProfile] = LruCache(profiles)
        self._floors: LruCache[str, Position] = LruCache(floors, on_evict=self._forget_floor)
        # The floor of all users whose own was evicted: the merge of the evicted floors.
        self._forgotten = Position()

    def __len__(self) -> int:
        return len(self._profiles)

    def get(self, user_id: str) -> CachedProfile | None:
        return self._profiles.get(user_id)

    def put(self, user_id: str, profile: CachedProfile) -> bool:
        """Stores the profile unless it is below the user's floor; returns whether it did."""
        floor = self._floors.peek(user_id) or self._forgotten
        if not profile.position.covers(floor):
            return False
        self._profiles.put(user_id, profile)
        return True

    def changed(self, user_id: str, stream: str, sequence: int) -> None:
        """Raises the user's floor, and evicts an entry below it."""
        floor = (self._floors.peek(user_id) or Position()).merge(Position.at(stream, sequence))
        self._floors.put(user_id, floor)
        entry = self._profiles.peek(user_id)
        if entry is not None and not entry.position.covers(floor):
            self._profiles.discard(user_id)

    def followed_from(self, stream: str, sequence: int) -> None:
        """Starts following a stream after the sequence; every entry must have seen all earlier changes."""
        self._forgotten = self._forgotten.merge(Position.at(stream, sequence))
        self._profiles.clear()

    def _forget_floor(self, user_id: str, floor: Position) -> None:
        self._forgotten = self._forgotten.merge(floor)
