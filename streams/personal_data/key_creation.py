"""Creates data keys in the store. For auth, which alone may write there."""

import asyncio
from collections.abc import Collection, Mapping

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from contracts.personal_data.key_ids import wrapped_by
from streams.jetstream.key_value import Changed
from streams.personal_data import cipher
from streams.personal_data.data_keys import DataKeys, MasterKeys
from streams.personal_data.key_store import KeyRecord, KeyStore


class KeyDestroyed(Exception):
    """The key, or the person's key that would wrap it, was destroyed: no other one takes its place."""


class KeyCreation:
    def __init__(self, store: KeyStore, master_keys: MasterKeys) -> None:
        self._store = store
        self._master_keys = master_keys
        # Without a cache: a key may have been destroyed a moment ago.
        self._keys = DataKeys(store, master_keys, capacity=0)

    async def create(self, key_ids: Collection[str]) -> None:
        """Creates those of the keys that do not exist, and the persons' keys that they need. Repeatable.

        Of several that create a key at the same time one creates it.

        Raises:
            KeyDestroyed: one of them was; others may have been created.
            KeysUnavailable: the store does not answer; some may have been created.
            ValueError: one of them is no key id.
        """
        wrappers = {key_id: wrapped_by(key_id) for key_id in key_ids}
        persons = {wrapper or key_id for key_id, wrapper in wrappers.items()}
        present = await self._present(persons)
        if absent := persons - present.keys():
            master = self._master_keys.current()
            await self._put({key_id: (master.tag.hex(), master.cipher) for key_id in absent})
            present = _not_destroyed(await self._keys.find(persons))
        texts = {key_id: wrapper for key_id, wrapper in wrappers.items() if wrapper is not None}
        existing = await self._present(texts)
        await self._put({key_id: (texts[key_id], present[texts[key_id]]) for key_id in texts.keys() - existing.keys()})

    async def _present(self, key_ids: Collection[str]) -> dict[str, AESGCM]:
        return _not_destroyed(await self._keys.look_up(key_ids))

    async def _put(self, wrapping_keys: Mapping[str, tuple[str, AESGCM]]) -> None:
        """Stores a new key for each id, wrapped by a key with an id of its own."""

        async def put(key_id: str, kek: str, wrapping_key: AESGCM) -> None:
            wrapped = cipher.wrap(wrapping_key, kek, key_id, cipher.new_key())
            try:
                await self._store.put(key_id, KeyRecord.of(kek=kek, wrapped=wrapped), revision=0)
            except Changed:
                # Another process created it, or an attempt of this one whose answer was lost.
                return

        await asyncio.gather(*(put(key_id, *wrapping) for key_id, wrapping in wrapping_keys.items()))


def _not_destroyed(keys: Mapping[str, AESGCM | None]) -> dict[str, AESGCM]:
    existing = {}
    for key_id, key in keys.items():
        if key is None:
            raise KeyDestroyed(key_id)
        existing[key_id] = key
    return existing
