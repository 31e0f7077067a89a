"""Erases accounts when their grace is over, and completes their erasures, while the service runs.

A process manager: its state is the user's stream, its timers are a read model, and each act is a command whose
condition is the stream's. So replicas may act at the same time, and a crash at any moment repeats nothing.
"""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Protocol

from contracts import envelope
from contracts.envelope import Provenance
from contracts.errors import LegalHold
from contracts.personal_data.key_ids import person_key
from services.auth.erasure.commands import Erasures
from services.auth.erasure.metrics import OVERDUE
from services.auth.erasure.queries import DueErasure
from services.auth.erasure.removal import Removal
from streams.personal_data.data_keys import CACHE_SECONDS
from streams.personal_data.key_store import StoredKey
from streams.reactions.sweeps import sweep

log = logging.getLogger(__name__)
# Seconds between two sweeps.
_EVERY = 15.0
_BATCH = 500
# A process may use a key for so long after its end, and keeps it for as long again; the third part is for clocks that
# differ.
_CACHES_END = timedelta(seconds=3 * CACHE_SECONDS)


class Timers(Protocol):
    """The erasures that are due, in the read model."""

    async def due(
        self, now: datetime, complete: datetime, limit: int, *, after: DueErasure | None
    ) -> list[DueErasure]: ...


class StoredKeys(Protocol):
    async def versions(self, key_id: str) -> list[StoredKey]: ...


class ErasureProcess:
    def __init__(
        self,
        erasures: Erasures,
        timers: Timers,
        keys: StoredKeys,
        removal: Removal,
        *,
        clock: Callable[[], datetime] = envelope.now,
    ) -> None:
        self._erasures = erasures
        self._timers = timers
        self._keys = keys
        self._removal = removal
        self._clock = clock
        # Whose erasures wait for the end of a legal hold.
        self._held: set[str] = set()
        # Where the next page of what is due begins; None: with the oldest.
        self._after: DueErasure | None = None

    async def run(self) -> None:
        """Acts on what is due until cancelled."""
        await sweep("erasures", self.due, self.act, name_of=lambda _: "one of them", every=_EVERY)

    async def due(self) -> list[DueErasure]:
        """The next page of what is due: erasures that fail, or wait for a legal hold, do not hold up later ones.

        Raises:
            VestnikError: the read model cannot be read.
        """
        now = self._clock()
        page = await self._timers.due(now, now - _CACHES_END, _BATCH, after=self._after)
        if self._after is None:
            waits = [now - erasure.since for erasure in page if erasure.user_id not in self._held]
            OVERDUE.set(max(waits, default=timedelta()).total_seconds())
        self._after = page[-1] if len(page) == _BATCH else None
        return page

    async def act(self, due: DueErasure) -> None:
        """Erases the account, or completes its erasure.

        Raises:
            VestnikError: it is not done, or it is unknown whether it is.
        """
        if not due.erased:
            await self._erase(due.user_id)
        elif await self._keys_are_over(due.user_id):
            # The reaction may have failed, and something may have been written since.
            await self._removal.remove(due.user_id, Provenance())
            await self._erasures.complete(due.user_id)
            log.info("the erasure of an account is complete")

    async def _erase(self, user_id: str) -> None:
        if await self._erasures.cancel_after_login(user_id):
            log.info("cancelled an erasure that was due: the user had logged in since the request")
            self._held.discard(user_id)
            return
        try:
            erasure = await self._erasures.erase(user_id, "requested", Provenance())
        except LegalHold:
            if user_id not in self._held:
                log.info("an erasure that is due waits for the end of a legal hold")
            self._held.add(user_id)
            return
        self._held.discard(user_id)
        if erasure.erased:
            log.info("erased an account whose time to cancel that was over")

    async def _keys_are_over(self, user_id: str) -> bool:
        """Whether the person's key was destroyed so long ago that no process has it."""
        versions = await self._keys.versions(person_key(user_id))
        destroyed_at = versions[0].record.destroyed_at if len(versions) == 1 else None
        return destroyed_at is not None and destroyed_at + _CACHES_END <= self._clock()
