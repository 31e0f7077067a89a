"""Erases registrations that ended without an account, while the service runs: their personal data is kept no longer.

They are found among the keys of persons, by the time in each user's id. Each is looked at for some days, so that a
sweep costs a look-up for each account of these days and not for all.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from typing import Protocol

from msgspec import DecodeError

from contracts import envelope
from contracts.envelope import Provenance
from contracts.errors import LegalHold, VestnikError
from contracts.personal_data.key_ids import month_of, owner_of
from contracts.values.ids import made_at
from services.auth.domain import User
from services.auth.erasure.commands import Erasures
from streams.personal_data.key_store import KeyRecord
from streams.repository import BrokenHistory, Repository

log = logging.getLogger(__name__)
# Seconds from the start to the first sweep, and between two.
_FIRST, _EVERY = 600.0, 86_400.0
# How long after its end a registration is kept, and for how long it is looked for then.
KEPT = timedelta(days=30)
_LOOKED_FOR = timedelta(days=30)


class StoredKeys(Protocol):
    def pages(self) -> AsyncIterator[list[tuple[str, KeyRecord]]]: ...


class EndedRegistrations:
    def __init__(
        self,
        store: StoredKeys,
        users: Repository[User],
        erasures: Erasures,
        lifetime: timedelta,
        *,
        clock: Callable[[], datetime] = envelope.now,
    ) -> None:
        """`lifetime`: how long an address can be verified after the registration."""
        self._store = store
        self._users = users
        self._erasures = erasures
        self._lifetime = lifetime
        self._clock = clock

    async def run(self) -> None:
        """Erases what is due until cancelled."""
        await asyncio.sleep(_FIRST)
        while True:
            try:
                if erased := await self.sweep():
                    log.info("erased %d registrations that ended without an account", erased)
            except VestnikError as error:
                log.warning("registrations that have ended cannot be looked for: %s", error)
            await asyncio.sleep(_EVERY)

    async def sweep(self) -> int:
        """Erases the registrations that ended so long ago; returns how many.

        Raises:
            KeysUnavailable: the store of keys does not answer.
        """
        erased = 0
        async for page in self._store.pages():
            for key_id, record in page:
                user_id = owner_of(key_id)
                if user_id is None or month_of(key_id) is not None or record.destroyed_at is not None:
                    continue
                if KEPT <= self._clock() - made_at(user_id) - self._lifetime < KEPT + _LOOKED_FOR:
                    erased += await self._erase(user_id)
        return erased

    async def _erase(self, user_id: str) -> bool:
        try:
            user = (await self._users.load(user_id)).state
            if user.created_at is None or user.email_verified:
                return False
            return (await self._erasures.erase(user_id, "registration_ended", Provenance())).erased
        except LegalHold:
            return False
        except (VestnikError, BrokenHistory, DecodeError, LookupError) as error:
            log.warning("a registration that has ended was not erased: %r", error)
            return False
