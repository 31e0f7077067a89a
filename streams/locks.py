"""A lock for each key, which exists only while somebody holds it or waits for it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from contracts.errors import Overloaded


class Locks:
    def __init__(self, *, patience: float = 15.0) -> None:
        """`patience`: seconds for which a lock is waited for."""
        self._patience = patience
        self._locks: dict[str, tuple[asyncio.Lock, int]] = {}

    @asynccontextmanager
    async def hold(self, key: str) -> AsyncIterator[None]:
        """Holds the key's lock; those who wait get it in the order in which they came.

        Raises:
            Overloaded: it did not become free in time.
        """
        lock, users = self._locks.get(key) or (asyncio.Lock(), 0)
        self._locks[key] = lock, users + 1
        try:
            await self._acquire(lock, contended=users > 0)
            try:
                yield
            finally:
                lock.release()
        finally:
            _, users = self._locks.pop(key)
            if users > 1:
                self._locks[key] = lock, users - 1

    def __len__(self) -> int:
        return len(self._locks)

    async def _acquire(self, lock: asyncio.Lock, *, contended: bool) -> None:
        if not contended:
            # Taken at once, without a timer. That it is not locked would not do: it may be promised to who waits.
            await lock.acquire()
            return
        try:
            async with asyncio.timeout(self._patience):
                await lock.acquire()
        except TimeoutError as error:
            raise Overloaded from error
