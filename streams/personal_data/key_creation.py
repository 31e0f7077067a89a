"""Creates data keys in the store. For auth, which alone may write there.

A key is stored in three steps: as *staged*, with which nothing is sealed; then it is recorded for good; then it is
released for use. So whatever a crash leaves, a key that sealed anything was recorded, and a recorded key that the store
does not have is lost: another one must not take its place.
"""

import asyncio
from collections.abc import Collection, Mapping
from typing import Protocol

import msgspec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from contracts.personal_data.key_ids import wrapped_by
from streams.jetstream.key_value import Changed
from streams.personal_data import cipher
from streams.personal_data.data_keys import DataKeys, MasterKeys
from streams.personal_data.key_store import KeyRecord, KeyStore
from streams.personal_data.metrics import LOST, destroyed, unavailable


class RecordedKeys(Protocol):
    """The durable record of the keys, apart from the store."""

    async def known(self, key_ids: Collection[str], /) -> set[str]:
        """Those of the keys that were recorded."""

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
            KeysUnavailable: the store does not answer, or has lost one of them; some may have been created.
            ValueError: one of them is no key id.
        """
        wrappers = {key_id: wrapper for key_id in key_ids if (wrapper := wrapped_by(key_id)) is not None}
        persons = {*wrappers.values(), *(set(key_ids) - wrappers.keys())}
        records = await self._store.find([*persons, *wrappers])
        for key_id in (*persons, *wrappers):
            if key_id in records and records[key_id].destroyed_at is not None:
                raise destroyed(key_id)
        new = [key_id for key_id in (*persons, *wrappers) if key_id not in records or records[key_id].staged]
        if not new:
            return
        absent = [key_id for key_id in new if key_id not in records]
        for key_id in await self._recorded.known(new):
            if key_id in absent:
                raise unavailable(LOST, f"the key {key_id} was created, and the store of data keys does not have it")
        await self._stage(absent, wrappers)
        await self._recorded.record(new)
        # A key of texts after the key that wraps it.
        for kind in (persons, wrappers.keys()):
            await asyncio.gather(*(self._release(key_id) for key_id in new if key_id in kind))

    async def _stage(self, absent: Collection[str], wrappers: Mapping[str, str]) -> None:
        master = self._master_keys.current()
        await self._put({key_id: (master.tag.hex(), master.cipher) for key_id in absent if key_id not in wrappers})
        if texts := [key_id for key_id in absent if key_id in wrappers]:
            wrapping = _not_destroyed(await self._keys.find({wrappers[key_id] for key_id in texts}))
            await self._put({key_id: (wrappers[key_id], wrapping[wrappers[key_id]]) for key_id in texts})

    async def _put(self, wrapping_keys: Mapping[str, tuple[str, AESGCM]]) -> None:
        """Stores a new key for each id, staged, wrapped by a key with an id of its own."""

        async def put(key_id: str, kek: str, wrapping_key: AESGCM) -> None:
            wrapped = cipher.wrap(wrapping_key, kek, key_id, cipher.new_key())
            try:
                await self._store.put(key_id, KeyRecord.of(kek=kek, wrapped=wrapped, staged=True), revision=0)
            except Changed:
                # Another process has staged it, or an attempt of this one whose answer was lost.
                return

        await asyncio.gather(*(put(key_id, *wrapping) for key_id, wrapping in wrapping_keys.items()))

    async def _release(self, key_id: str) -> None:
        """Replaces the staged key by the same one for use. Repeatable."""
        while True:
            stored = await self._store.latest(key_id)
            if stored is None:
                raise unavailable(LOST, f"the key {key_id} is gone from the store of data keys")
            if stored.record.destroyed_at is not None:
                raise destroyed(key_id)
            if not stored.record.staged:
                return
            record = msgspec.structs.replace(stored.record, staged=False)
            try:
                await self._store.put(key_id, record, revision=stored.revision)
            except Changed:
                continue
            await self._store.erase(stored.revision)
            return


def _not_destroyed(keys: Mapping[str, AESGCM | None]) -> dict[str, AESGCM]:
    existing = {}
    for key_id, key in keys.items():
        if key is None:
            raise destroyed(key_id)
        existing[key_id] = key
    return existing
