"""Index of the conversations that connected users have muted: loaded once for all clients of a user.

Events keep it current. While messaging does not answer, it has no mutes of the users who come; their requests are
repeated with growing pauses, and few of them run at the same time.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping

from contracts.errors import VestnikError

log = logging.getLogger(__name__)
# Requests of one gateway at the same time.
MOST_LOADING = 16
# Seconds until a failed request is repeated: the first time, and at most. Each pause is up to half as long again.
_PAUSE = 1.0
_LONGEST_PAUSE = 30.0

# Loads the end of each of a user's mutes by the other person, once messaging has read to a sequence of MESSAGING.
Load = Callable[[str, int], Awaitable[Mapping[str, float]]]


class UserMutes:
    """One user's mutes."""

    __slots__ = ("clients", "loading", "muted_until")

    def __init__(self) -> None:
        self.clients = 0
        # By the other person: until when the user has muted the conversation, as Unix time.
        self.muted_until: dict[str, float] = {}
        self.loading: asyncio.Task[None] | None = None

    async def wait_loaded(self, seconds: float) -> None:
        """Waits until the mutes are loaded, but no longer than this."""
        if self.loading is not None:
            await asyncio.wait({self.loading}, timeout=seconds)


class MuteIndex:
    def __init__(self, load: Load, *, most_loading: int = MOST_LOADING, pause: float = _PAUSE) -> None:
        self._load = load
        self._slots = asyncio.Semaphore(most_loading)
        self._pause = pause
        self._users: dict[str, UserMutes] = {}

    def acquire(self, user_id: str, messaging: int) -> UserMutes:
        """The user's mutes, kept current until `release`. `messaging`: how far MESSAGING was followed."""
        mutes = self._users.get(user_id)
        if mutes is None:
            mutes = self._users[user_id] = UserMutes()
            mutes.loading = asyncio.create_task(self._fill(user_id, mutes, messaging))
        mutes.clients += 1
        return mutes

    def release(self, user_id: str) -> None:
        """Call when a client disconnects."""
        mutes = self._users[user_id]
        mutes.clients -= 1
        if not mutes.clients:
            del self._users[user_id]
            if mutes.loading is not None:
                mutes.loading.cancel()

    def changed(self, user_id: str, peer_id: str, until: float) -> None:
        """Applies an event of MESSAGING: the user has muted the peer until this Unix time; 0: not."""
        mutes = self._users.get(user_id)
        if mutes is not None:
            mutes.muted_until[peer_id] = until

    async def _fill(self, user_id: str, mutes: UserMutes, messaging: int) -> None:
        pause = self._pause
        while True:
            try:
                async with self._slots:
                    loaded = await self._load(user_id, messaging)
                break
            except VestnikError as error:
                log.info("the mutes of a user cannot be loaded: %s", error)
            await asyncio.sleep(pause * random.uniform(1.0, 1.5))  # noqa: S311
            pause = min(2 * pause, _LONGEST_PAUSE)
        for peer_id, until in loaded.items():
            # What an event has changed since `acquire` is newer than what was loaded.
            mutes.muted_until.setdefault(peer_id, until)
