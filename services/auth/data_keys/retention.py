"""Destroys the keys of what is older than it is kept, while the service runs: of texts, and of the origins of logins.

Messaging deletes each message at its time, and answers when the oldest one was sent that is not deleted: a month's
keys end when all of its messages have been deleted. The origins of logins end in read models by their events, and a key
of origins after the month that it names. Which keys there are, the store of keys says; a key ring's condition lets one
of several replicas be first.
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
from contracts.personal_data.key_ids import month_of, owner_of, seals_origins, seals_texts
from services.auth.data_keys.domain import RETENTION, KeyRing, decide_destroy
from services.auth.data_keys.metrics import HELD
from streams.personal_data.key_store import KeyRecord
from streams.reactions.retention_progress import RetentionProgress
from streams.repository import BrokenHistory, Repository

log = logging.getLogger(__name__)
# Seconds from the start to the first sweep, between two, and after one that failed.
_FIRST, _EVERY, _AGAIN = 300.0, 86_400.0, 600.0
# For clocks that differ: the oldest message is found by its id, and another one may have been sent earlier.
_MARGIN = timedelta(days=1)


class StoredKeys(Protocol):
    def pages(self) -> AsyncIterator[list[tuple[str, KeyRecord]]]: ...


class Messages(Protocol):
    async def oldest(self) -> datetime | None:
        """The time at which the oldest message that is not deleted was sent; None if there is none."""


class Swept(msgspec.Struct, frozen=True):
    # Keys that this sweep has ended, and those of people whose data is held.
    ended: int
    held: int
    # Keys that are due, or messages whose keys are, and were left for another reason.
    is_complete: bool = True


class KeyRetention:
    def __init__(
        self,
        store: StoredKeys,
        rings: Repository[KeyRing],
        messages: Messages,
        keep: timedelta | None,
        *,
        clock: Callable[[], datetime] = envelope.now,
    ) -> None:
        """`keep`: how long messages are kept; None: for ever."""
        self._store = store
        self._rings = rings
        self._messages = messages
        self._keep = keep
        self._clock = clock
        self._progress = RetentionProgress("keys")

    async def run(self) -> None:
        """Ends what is due until cancelled."""
        await asyncio.sleep(_FIRST)
        while True:
            pause = _EVERY
            try:
                swept = await self.sweep()
                if swept.ended or swept.held:
                    log.info("retention: %d keys have ended; %d are held", swept.ended, swept.held)
            except VestnikError as error:
                log.warning("it is not known now which keys are due to end: %s", error)
                self._progress.swept(complete=False)
                pause = _AGAIN
            await asyncio.sleep(pause)

    async def sweep(self) -> Swept:
        """Destroys the keys of months that are over: of texts, after the retention and once no message is left;
        and of the origins of logins.

        Raises:
            KeysUnavailable: the store does not answer.
            Unavailable, DeadlineExceeded, ReadModelBehind: messaging does not say which messages there are; the keys
                of origins have ended.
        """
        origins = await self._sweep(self._clock() - _MARGIN, seals_origins)
        texts = Swept(0, 0) if self._keep is None else await self._sweep_texts(self._keep)
        swept = Swept(origins.ended + texts.ended, origins.held + texts.held, origins.is_complete and texts.is_complete)
        HELD.set(swept.held)
        self._progress.swept(complete=swept.is_complete)
        return swept

    async def _sweep_texts(self, keep: timedelta) -> Swept:
        oldest, until = await self._messages.oldest(), self._clock() - keep
        waits = oldest is not None and oldest < until - _MARGIN
        if oldest is not None:
            if waits:
                log.warning("keys of texts wait for messages that are due to be deleted: the oldest is of %s", oldest)
            until = min(until, oldest)
        swept = await self._sweep(until - _MARGIN, seals_texts)
        return msgspec.structs.replace(swept, is_complete=swept.is_complete and not waits)

    async def _sweep(self, until: datetime, seals: Callable[[str], bool]) -> Swept:
        """Ends the keys of a kind whose months ended before a time."""
        # A month ended before a moment if it is before the moment's month.
        present = f"{until:%Y-%m}"
        ended = held = 0
        is_complete = True
        async for page in self._store.pages():
            due: dict[str, list[str]] = defaultdict(list)
            for key_id, record in page:
                if not seals(key_id):
                    continue
                month, owner = month_of(key_id), owner_of(key_id)
                if record.destroyed_at is None and owner is not None and month is not None and month < present:
                    due[owner].append(key_id)
            for owner, key_ids in due.items():
                try:
                    ended += await self._end(owner, key_ids)
                except LegalHold:
                    held += len(key_ids)
                except (VestnikError, BrokenHistory, DecodeError, LookupError) as error:
                    log.warning("keys of a person's data have not ended: %r", error)
                    is_complete = False
        return Swept(ended, held, is_complete)

    async def _end(self, user_id: str, key_ids: list[str]) -> int:
        """
        Raises:
            LegalHold: the person's data is held.
            VestnikError, BrokenHistory, DecodeError, LookupError: the key ring cannot be read or written.
        """
        result = await self._rings.execute(user_id, lambda ring: decide_destroy(ring, key_ids, RETENTION), Provenance())
        return len(key_ids) if result.events else 0
