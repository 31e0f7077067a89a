"""Records the keys in the store that no key ring has, while the service runs.

During an upgrade an auth of the release before creates keys without a record. A loss of such a key would go unnoticed,
and another one would take its place.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator
from itertools import chain, repeat
from typing import Protocol

from msgspec import DecodeError

from contracts.envelope import Provenance
from contracts.errors import VestnikError
from contracts.events.data_keys import DataKeysCreated
from contracts.events.event import Event
from contracts.personal_data.key_ids import owner_of
from services.auth.data_keys.domain import KeyRing, decide_create
from streams.personal_data.key_store import KeyRecord
from streams.repository import BrokenHistory, Repository

log = logging.getLogger(__name__)
# Seconds from the start to the first sweep, and from that to the next one, which finds what a replica of the release
# before has created while it was being replaced; between two later ones; and after one that failed.
_FIRST, _EVERY, _AGAIN = (60.0, 600.0), 86_400.0, 60.0


class StoredKeys(Protocol):
    def pages(self) -> AsyncIterator[list[tuple[str, KeyRecord]]]: ...


class UnrecordedKeys:
    def __init__(self, store: StoredKeys, rings: Repository[KeyRing]) -> None:
        self._store = store
        self._rings = rings

    async def run(self) -> None:
        """Records what is found until cancelled."""
        for pause in chain(_FIRST, repeat(_EVERY)):
            await asyncio.sleep(pause)
            await self._sweep_until_done()

    async def _sweep_until_done(self) -> None:
        while True:
            try:
                if recorded := await self.sweep():
                    log.info("recorded %d data keys that a process of the release before had created", recorded)
                return
            except VestnikError as error:
                log.warning("data keys without a record cannot be looked for: %s", error)
                await asyncio.sleep(_AGAIN)

    async def sweep(self) -> int:
        """Records the keys without a record; returns how many. Repeatable, and safe at several replicas at once.

        Raises:
            VestnikError: the store of keys or the event store does not answer.
        """
        recorded = 0
        async for page in self._store.pages():
            unrecorded: dict[str, list[str]] = defaultdict(list)
            for key_id, record in page:
                owner = owner_of(key_id)
                if owner is not None and not record.is_recorded and record.destroyed_at is None:
                    unrecorded[owner].append(key_id)
            for owner, key_ids in unrecorded.items():
                recorded += await self._record(owner, key_ids)
        return recorded

    async def _record(self, user_id: str, key_ids: list[str]) -> int:
        def decide(ring: KeyRing) -> tuple[Event, ...]:
            return decide_create(ring, [key_id for key_id in key_ids if not ring.is_destroyed(key_id)])

        try:
            result = await self._rings.execute(user_id, decide, Provenance())
        except (BrokenHistory, DecodeError, LookupError) as error:
            log.warning("keys of a person have not been recorded: %r", error)
            return 0
        return sum(len(event.data.key_ids) for event in result.events if isinstance(event.data, DataKeysCreated))
