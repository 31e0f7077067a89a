"""When users were last online: one value per user in a JetStream key-value bucket, and the latest ones in memory.

A gateway writes a user's value when the user has gone offline, and every REFRESH_SECONDS while the user is online, so
that little is lost if all gateways are killed; at most once in PAUSE_SECONDS. What waits is written when the gateway
stops. While the bucket is away, values wait; what is not known is left out of answers.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Iterable

from contracts.errors import Unavailable
from contracts.values.timestamps import Rfc3339, rfc3339_of
from services.gateway.observability.presence_metrics import PresenceMetrics
from streams.jetstream.key_value import KeyValue
from streams.lru_cache import LruCache

log = logging.getLogger(__name__)
PAUSE_SECONDS = 60.0
REFRESH_SECONDS = 300.0
# Seconds between two steps, and most writes of one.
_EVERY = 1.0
_MOST_AT_ONCE = 200
# Users whose latest value is in memory, and whose last write is remembered.
_MOST_KNOWN = 100_000
# Values that wait while the bucket is away; further ones are not written.
_MOST_WAITING = 50_000
_AT_STOP_SECONDS = 2.0


class LastSeen:
    def __init__(
        self,
        values: KeyValue,
        metrics: PresenceMetrics,
        *,
        hides: Callable[[str], bool],
        prepare_bucket: Callable[[], Awaitable[None]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`hides`: whether the user is known to hide when they were online."""
        self._values = values
        self._metrics = metrics
        self._hides = hides
        self._prepare_bucket = prepare_bucket
        self._clock = clock
        # Users who are online here, and when their values are refreshed.
        self._refresh_at: dict[str, float] = {}
        # Values to be written; None: to be removed.
        self._waiting: dict[str, Rfc3339 | None] = {}
        self._written_at: LruCache[str, float] = LruCache(_MOST_KNOWN)
        self._latest: LruCache[str, Rfc3339] = LruCache(_MOST_KNOWN)
        self._is_unreachable = False

    def set_online(self, user_id: str) -> None:
        """The user is online somewhere: earlier times are out of date."""
        self._latest.discard(user_id)
        self._waiting.pop(user_id, None)

    def keep(self, user_id: str) -> None:
        """Refreshes the user's value from now on."""
        self._refresh_at.setdefault(user_id, self._clock() + REFRESH_SECONDS)

    def release(self, user_id: str) -> None:
        """The user is no longer online here."""
        self._refresh_at.pop(user_id, None)

    def set_offline(self, user_id: str, at: float, *, write: bool) -> None:
        """The user is online nowhere since then, Unix time. `write`: whether this gateway is to store it."""
        if self._hides(user_id):
            return
        seen = rfc3339_of(int(at * 1000))
        self._latest.put(user_id, seen)
        if write and len(self._waiting) < _MOST_WAITING:
            self._waiting[user_id] = seen

    def hide(self, user_id: str, *, remove: bool) -> None:
        """Forgets when the user was last online, since they hide it now.

        `remove`: whether this gateway is to remove the value, even if it has not written one.
        """
        remove = remove or user_id in self._refresh_at or self._written_at.peek(user_id) is not None
        self._latest.discard(user_id)
        self._waiting.pop(user_id, None)
        self._refresh_at.pop(user_id, None)
        if remove:
            self._waiting[user_id] = None

    def latest(self, user_id: str) -> Rfc3339 | None:
        """The time at which the user went offline, if that happened while this gateway was running."""
        return self._latest.peek(user_id)

    async def read(self, user_ids: Collection[str]) -> dict[str, Rfc3339]:
        """Reads when the users were last online, as far as known; while the bucket is unreachable, only from memory."""
        stored: dict[str, bytes] = {}
        if unknown := [user_id for user_id in user_ids if self._latest.peek(user_id) is None]:
            try:
                stored = await self._values.get_many(unknown)
            except Unavailable:
                self._report()
        values = {user_id: value.decode(errors="replace") for user_id, value in stored.items()}
        # A user may have gone offline during the read.
        return values | {user_id: seen for user_id in user_ids if (seen := self._latest.peek(user_id)) is not None}

    async def run(self) -> None:
        """Writes until cancelled; then once more what is due."""
        try:
            await self._prepare_bucket()
            while True:
                await asyncio.sleep(_EVERY)
                await self.write_due()
        finally:
            try:
                async with asyncio.timeout(_AT_STOP_SECONDS):
                    await self._write(self._all_due())
            except TimeoutError:
                log.info("when users were last online could not be stored in time")

    async def write_due(self) -> None:
        """One step: writes what is due, removals first."""
        await self._write(self._due()[:_MOST_AT_ONCE])

    def _due(self) -> list[str]:
        now = self._clock()
        due = [user_id for user_id, seen in self._waiting.items() if seen is None or self._may_write(user_id, now)]
        due.sort(key=lambda user_id: self._waiting[user_id] is not None)
        return due + [user_id for user_id, at in self._refresh_at.items() if at <= now]

    def _all_due(self) -> list[str]:
        """What is due at the process's end: also the users who are online here and would be written later."""
        now = self._clock()
        online = [user_id for user_id in self._refresh_at if self._may_write(user_id, now)]
        return [*self._waiting, *online]

    def _may_write(self, user_id: str, now: float) -> bool:
        written_at = self._written_at.peek(user_id)
        return written_at is None or now - written_at >= PAUSE_SECONDS

    async def _write(self, user_ids: Iterable[str]) -> None:
        users = list(user_ids)
        for begin in range(0, len(users), _MOST_AT_ONCE):
            outcomes = await asyncio.gather(*map(self._write_one, users[begin : begin + _MOST_AT_ONCE]))
            if not all(outcomes):
                return

    async def _write_one(self, user_id: str) -> bool:
        waits = user_id in self._waiting
        due = seen = self._waiting.get(user_id) if waits else rfc3339_of(int(time.time() * 1000))
        now = self._clock()
        try:
            if seen is not None:
                await self._values.put(user_id, seen.encode())
                if self._hides(user_id):
                    # Another gateway may have removed the value before this one was stored.
                    self._waiting[user_id] = seen = None
            if seen is None:
                await self._values.delete(user_id)
        except Unavailable:
            self._metrics.last_seen.labels("failed").inc()
            self._report()
            return False
        self._is_unreachable = False
        self._metrics.last_seen.labels("stored" if seen is not None else "removed").inc()
        self._written_at.put(user_id, now)
        if self._waiting.get(user_id, "") in (due, seen):
            del self._waiting[user_id]
        if user_id in self._refresh_at:
            self._refresh_at[user_id] = now + REFRESH_SECONDS
        return True

    def _report(self) -> None:
        """Logs once per outage."""
        if not self._is_unreachable:
            self._is_unreachable = True
            log.warning("when users were last online is not stored or read at the moment")
