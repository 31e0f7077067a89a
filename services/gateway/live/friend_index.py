"""Index of the friends of connected users: who gets a profile's update, sees whose presence, and may type to whom.

A user's friends are loaded once, when their first client connects, and kept current by the events of CONTACT. They are
kept for a while after the last client has disconnected, since most reconnect.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection
from sys import intern

from streams.lru_cache import LruCache

# Bound on the cached friends of all users without a client here.
_MOST_IDLE = 200_000

# Loads all friends of a user once contact's read model has reached a sequence of CONTACT.
Load = Callable[[str, int], Awaitable[Collection[str]]]


class FriendSet:
    """One user's friends."""

    __slots__ = ("changed", "clients", "complete_since", "friends", "loading")

    def __init__(self) -> None:
        self.friends: set[str] = set()
        self.clients = 0
        # The sequence of PROFILE from which on every friend's update is published here; None until loaded.
        self.complete_since: int | None = None
        self.loading: asyncio.Task[None] | None = None
        # While loading: friendships that events have changed; never older than what is loaded.
        self.changed: dict[str, bool] = {}


class FriendIndex:
    def __init__(self, load: Load, *, most_idle: int = _MOST_IDLE) -> None:
        self._load = load
        self._friend_sets: dict[str, FriendSet] = {}
        self._watchers: defaultdict[str, set[str]] = defaultdict(set)
        # Friend sets of users without a client here, the one released or changed longest ago first.
        self._idle: LruCache[str, FriendSet] = LruCache(
            most_idle,
            weigh=lambda friend_set: 1 + len(friend_set.friends),
            on_evict=lambda user_id, friend_set: self._forget(user_id),
        )

    def friends_of(self, person: str) -> Collection[str]:
        """The users in the index that are friends of the person."""
        return self._watchers.get(person, ())

    async def acquire(self, user_id: str, contact: int, profile: Callable[[], int]) -> FriendSet:
        """The user's friend set, once it is loaded. `contact`, `profile`: how far these streams were followed.

        Raises:
            VestnikError: it could not be loaded.
        """
        friend_set = self._friend_sets.get(user_id)
        if friend_set is None:
            friend_set = self._friend_sets[user_id] = FriendSet()
        self._idle.discard(user_id)
        friend_set.clients += 1
        if friend_set.complete_since is not None:
            return friend_set
        if friend_set.loading is None:
            friend_set.loading = asyncio.create_task(self._fill(user_id, friend_set, contact, profile))
        try:
            await asyncio.shield(friend_set.loading)
        except BaseException:
            self.release(user_id, friend_set)
            raise
        return friend_set

    def release(self, user_id: str, friend_set: FriendSet) -> None:
        """Call when a client disconnects."""
        if self._friend_sets.get(user_id) is not friend_set:
            return
        friend_set.clients -= 1
        if friend_set.clients > 0:
            return
        if friend_set.complete_since is None:
            self._forget(user_id)
            return
        self._idle.put(user_id, friend_set)

    def changed(self, one: str, other: str, friends: bool) -> None:
        """Applies an event of CONTACT: the two are friends now, or no longer."""
        for user_id, friend_id in ((one, other), (other, one)):
            friend_set = self._friend_sets.get(user_id)
            if friend_set is None:
                continue
            if friend_set.complete_since is None:
                friend_set.changed[friend_id] = friends
            else:
                self._set(user_id, friend_set, friend_id, friends)

    def clear(self) -> None:
        """Clears the index; the caller closes all connected clients, which then reconnect."""
        for user_id in list(self._friend_sets):
            self._forget(user_id)
        self._idle.clear()

    async def _fill(self, user_id: str, friend_set: FriendSet, contact: int, profile: Callable[[], int]) -> None:
        try:
            loaded = dict.fromkeys(await self._load(user_id, contact), True)
        except BaseException:
            # The next `acquire` tries again.
            friend_set.loading = None
            friend_set.changed.clear()
            raise
        for friend_id, friends in (loaded | friend_set.changed).items():
            if friends:
                self._add(user_id, friend_set, friend_id)
        friend_set.changed = {}
        friend_set.loading = None
        friend_set.complete_since = profile()

    def _set(self, user_id: str, friend_set: FriendSet, friend_id: str, friends: bool) -> None:
        idle = self._idle.discard(user_id)
        if friends:
            self._add(user_id, friend_set, friend_id)
        else:
            friend_set.friends.discard(friend_id)
            self._unwatch(user_id, friend_id)
        if idle is not None:
            self._idle.put(user_id, idle)

    def _add(self, user_id: str, friend_set: FriendSet, friend_id: str) -> None:
        # Interned, since one id is in many friend sets.
        friend_id = intern(friend_id)
        friend_set.friends.add(friend_id)
        self._watchers[friend_id].add(user_id)

    def _unwatch(self, user_id: str, friend_id: str) -> None:
        watchers = self._watchers.get(friend_id)
        if watchers is not None:
            watchers.discard(user_id)
            if not watchers:
                del self._watchers[friend_id]

    def _forget(self, user_id: str) -> None:
        friend_set = self._friend_sets.pop(user_id, None)
        if friend_set is None:
            return
        if friend_set.loading is not None:
            friend_set.loading.cancel()
        for friend_id in friend_set.friends:
            self._unwatch(user_id, friend_id)
