"""Creates data keys in the store. For auth, which alone may write there.

First a *mark* takes the key's place in the store, then the key is recorded permanently, then it replaces the mark. So a
key that sealed anything was recorded, whatever a crash leaves; and a recorded key of which the store has neither the
mark nor the key is lost: another one must not take its place.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Protocol, TypeVar

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from contracts.personal_data.key_ids import wrapped_by
from streams.jetstream.key_value import Changed
from streams.personal_data import cipher
from streams.personal_data.data_keys import DataKeys, MasterKeys, unwrap_person
from streams.personal_data.key_store import KeyRecord, KeyStore
from streams.personal_data.metrics import LOST, destroyed, unavailable

# Keys that are written at once.
_AT_ONCE = 100

T = TypeVar("T")


class RecordedKeys(Protocol):
    """The durable record of the keys, apart from the store."""

    async def known(self, key_ids: Collection[str], /) -> set[str]:
        """Returns which of the keys were recorded."""

    async def record(self, key_ids: Collection[str], /) -> None:
        """Records those of the keys that are not yet."""


class KeyCreation:
    def __init__(self, store: KeyStore, master_keys: MasterKeys, recorded: RecordedKeys) -> None:
        self._store = store
        self._master_keys = master_keys
        self._recorded = recorded
        # Without a cache: a key may have been destroyed a moment ago.
        self._keys = DataKeys(store, master_keys, capacity=0)

    async def create(self, key_ids: Collection[str]) -> None:
        """Creates those of the keys that do not exist, and the persons' keys that they need. Repeatable.

        Of several that create a key at the same time one creates it.

        Raises:
            UserNotFound, MessageNotFound: one of them, or the person's key that would wrap it, was destroyed, and no
                other one takes its place; others may have been created.
            OutOfSpace: the event store has no space; some may have been created.
            KeysUnavailable: the store does not answer, or has lost one of them; some may have been created.
            ValueError: one of them is no key id.
        """
        wrappers = {key_id: wrapper for key_id in key_ids if (wrapper := wrapped_by(key_id)) is not None}
        persons = {*wrappers.values(), *(set(key_ids) - wrappers.keys())}
        records = await self._store.find([*persons, *wrappers])
        for key_id in (*persons, *wrappers):
            if key_id in records and records[key_id].destroyed_at is not None:
                raise destroyed(key_id)
        absent = [key_id for key_id in (*persons, *wrappers) if key_id not in records]
        if not absent:
            return
        known = await self._recorded.known(absent)
        marked = await _each(absent, lambda key_id: self._mark(key_id, is_recorded=key_id in known))
        marks = dict(zip(absent, marked, strict=True))
        await self._recorded.record(absent)
        if new_persons := [key_id for key_id in absent if key_id in persons]:
            master = self._master_keys.current()
            await _each(new_persons, lambda key_id: self._put(key_id, master.tag.hex(), master.cipher, marks[key_id]))
        if texts := [key_id for key_id in absent if key_id in wrappers]:
            wrapping = await self._persons({wrappers[key_id] for key_id in texts}, records)
            await _each(
                texts,
                lambda key_id: self._put(key_id, wrappers[key_id], wrapping[wrappers[key_id]], marks[key_id]),
            )

    async def _persons(self, key_ids: Collection[str], records: Mapping[str, KeyRecord]) -> dict[str, AESGCM | None]:
        """The keys of persons, from these records of a moment ago where they are among them."""
        keys: dict[str, AESGCM | None] = {
            key_id: AESGCM(unwrap_person(key_id, records[key_id], self._master_keys))
            for key_id in key_ids
            if key_id in records
        }
        return keys | await self._keys.find(set(key_ids) - keys.keys())

    async def _mark(self, key_id: str, *, is_recorded: bool) -> int | None:
        """Puts the mark in the key's place, if there is nothing; returns its revision, or None if there was something.

        Raises:
            KeysUnavailable: the key was recorded, and there is nothing: it is lost.
        """
        if not is_recorded:
            try:
                return await self._store.put(key_id, KeyRecord.mark(), revision=0)
            except Changed:
                # Another process has created it or begun to, or an attempt of this one whose answer was lost.
                return None
        if await self._store.latest(key_id) is None:
            raise unavailable(LOST, f"the key {key_id} was created, and the store of data keys does not have it")
        return None

    async def _put(self, key_id: str, kek: str, wrapping_key: AESGCM | None, mark: int | None) -> None:
        """Stores a new key in place of the mark, wrapped by a key with an id of its own. Repeatable.

        `mark`: its revision; None: it has to be read.
        """
        if wrapping_key is None:
            raise destroyed(kek)
        while True:
            if mark is None:
                stored = await self._store.latest(key_id)
                if stored is None:
                    raise unavailable(LOST, f"the key {key_id} is gone from the store of data keys")
                if stored.record.destroyed_at is not None:
                    raise destroyed(key_id)
                if not stored.record.is_mark:
                    return
                mark = stored.revision
            wrapped = cipher.wrap(wrapping_key, kek, key_id, cipher.new_key())
            record = KeyRecord.of(kek=kek, wrapped=wrapped, is_recorded=True)
            try:
                await self._store.put(key_id, record, revision=mark)
            except Changed:
                mark = None
                continue
            # The mark is no secret. What a crash leaves of it goes with the key.
            await self._store.remove(mark)
            return


async def _each(key_ids: Sequence[str], work: Callable[[str], Awaitable[T]]) -> list[T]:
    """Does the work for some keys at a time: each writes to the disk, and waits for those before it."""
    done: list[T] = []
    for first in range(0, len(key_ids), _AT_ONCE):
        done += await asyncio.gather(*map(work, key_ids[first : first + _AT_ONCE]))
    return done
