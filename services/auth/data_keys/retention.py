"""Destroys the keys of texts of months that are older than messages are kept, while the service runs.

Messaging deletes each message at its time; a month's keys end when all of its messages have been deleted. Which keys
there are, the store of keys says; a key ring's condition lets one of several replicas be first.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from typing import Protocol

import msgspec
from msgspec import DecodeError

from contracts import envelope
from contracts.envelope import Provenance
from contracts.errors import LegalHold, VestnikError
from contracts.personal_data.key_ids import month_of, owner_of, seals_texts
from services.auth.data_keys.domain import RETENTION, KeyRing, decide_destroy
from streams.personal_data.key_store import KeyRecord
from streams.repository import BrokenHistory, Repository

log = logging.getLogger(__name__)
# Seconds from the start to the first sweep, and between two.
_FIRST, _EVERY = 300.0, 86_400.0
# For messaging to delete the messages of a month's last moment.
_MARGIN = timedelta(days=1)


class StoredKeys(Protocol):
    def pages(self) -> AsyncIterator[list[tuple[str, KeyRecord]]]: ...


class Swept(msgspec.Struct, frozen=True):
    # Keys that this sweep has ended, and those of people whose data is held.
    ended: int
    held: int


class KeyRetention:
    def __init__(
        self,
        store: StoredKeys,
        rings: Repository[KeyRing],
        keep: timedelta,
        *,
        clock: Callable[[], datetime] = envelope.now,
    ) -> None:
        """`keep`: how long messages are kept."""
        self._store = store
        self._rings = rings
        self._keep = keep
        self._clock = clock

    async def run(self) -> None:
        """Ends what is due until cancelled."""
        await asyncio.sleep(_FIRST)
        while True:
            try:
                swept = await self.sweep()
                if swept.ended or swept.held:
                    log.info("retention: %d keys of texts have ended; %d are held", swept.ended, swept.held)
            except VestnikError as error:
                log.warning("keys of texts that are due to end cannot be read: %s", error)
            await asyncio.sleep(_EVERY)

    async def sweep(self) -> Swept:
        """Ends the keys of the months that are over for as long as messages are kept.

        Raises:
            KeysUnavailable: the store does not answer.
        """
        # A month ended so long ago if it is before the month of this moment.
        present = f"{self._clock() - self._keep - _MARGIN:%Y-%m}"
        ended = held = 0
        async for page in self._store.pages():
            due: dict[str, list[str]] = defaultdict(list)
            for key_id, record in page:
                if not seals_texts(key_id):
                    continue
                month, owner = month_of(key_id), owner_of(key_id)
                if record.destroyed_at is None and owner is not None and month is not None and month < present:
                    due[owner].append(key_id)
            for owner, key_ids in due.items():
                try:
                    ended += await self._end(owner, key_ids)
                except LegalHold:
                    held += len(key_ids)
        return Swept(ended, held)

    async def _end(self, user_id: str, key_ids: list[str]) -> int:
        """
        Raises:
            LegalHold: the person's data is held.
        """
        try:
            result = await self._rings.execute(
                user_id, lambda ring: decide_destroy(ring, key_ids, RETENTION), Provenance()
            )
        except LegalHold:
            raise
        except (VestnikError, BrokenHistory, DecodeError, LookupError) as error:
            log.warning("keys of a person's texts have not ended: %r", error)
            return 0
        return len(key_ids) if result.events else 0
