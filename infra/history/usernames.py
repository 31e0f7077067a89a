"""Usernames of accounts, from the first event of each: erased ones are empty."""

import asyncio
from collections.abc import Iterable

import msgspec

from contracts.events.user import UserCreated
from contracts.subjects import user
from streams.log import Log
from streams.lru_cache import LruCache

# Usernames that are kept, and looked up concurrently.
_MOST_NAMES, _AT_ONCE = 10_000, 64


class Usernames:
    def __init__(self, log: Log) -> None:
        self._log = log
        self._names = LruCache[str, str | None](_MOST_NAMES)

    async def of(self, user_ids: Iterable[str]) -> dict[str, str | None]:
        """The usernames by id; None: of no account, or its event cannot be read."""
        wanted = set(user_ids)
        known = {user_id: self._names.get(user_id) for user_id in wanted if user_id in self._names}
        unknown = sorted(wanted - known.keys())
        for first in range(0, len(unknown), _AT_ONCE):
            few = unknown[first : first + _AT_ONCE]
            for user_id, name in zip(few, await asyncio.gather(*map(self._read, few)), strict=True):
                self._names.put(user_id, name)
                known[user_id] = name
        return known

    async def _read(self, user_id: str) -> str | None:
        try:
            events = [message.open().data for message in await self._log.read(user(user_id), limit=1)]
        except (msgspec.DecodeError, LookupError):
            return None
        return next((event.username for event in events if isinstance(event, UserCreated)), None)
