"""Locks by key; a lock exists only while it is held or waited for."""

import asyncio

from contracts.deadlines import EVENT_STORE
from contracts.errors import Overloaded


class Locks:
    def __init__(self, *, patience: float = EVENT_STORE) -> None:
        """`patience`: seconds to wait for a lock."""
        self._patience = patience
        self._locks: dict[str, tuple[asyncio.Lock, int]] = {}

    def hold(self, key: str) -> "_Hold":
        """Holds the key's lock for the duration of the context; waiters get it in order of arrival.

        Raises:
            Overloaded: it did not become free in time.
        """
        return _Hold(self, key)

    def __len__(self) -> int:
        return len(self._locks)

    async def _enter(self, key: str) -> asyncio.Lock:
        lock, users = self._locks.get(key) or (asyncio.Lock(), 0)
        self._locks[key] = lock, users + 1
        try:
            await self._acquire(lock, contended=users > 0)
        except BaseException:
            self._leave(key)
            raise
        return lock

    def _leave(self, key: str) -> None:
        lock, users = self._locks.pop(key)
        if users > 1:
            self._locks[key] = lock, users - 1

    async def _acquire(self, lock: asyncio.Lock, *, contended: bool) -> None:
        if not contended:
            # Immediate, without a timer. An unlocked lock is not enough: it may be assigned to a waiter already.
            await lock.acquire()
            return
        try:
            async with asyncio.timeout(self._patience):
                await lock.acquire()
        except TimeoutError as error:
            raise Overloaded from error


class _Hold:
    # A class: a generator per command would be a large part of a command's cost here.
    __slots__ = ("_key", "_lock", "_locks")

    def __init__(self, locks: Locks, key: str) -> None:
        self._locks = locks
        self._key = key

    async def __aenter__(self) -> None:
        self._lock = await self._locks._enter(self._key)

    async def __aexit__(self, *exception: object) -> None:
        self._lock.release()
        self._locks._leave(self._key)
