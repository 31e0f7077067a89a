"""Wraps the keys of persons with the current master key, so that older master keys can be deleted."""

import asyncio

from contracts.personal_data.key_ids import wrapped_by
from streams.jetstream.key_value import Changed
from streams.personal_data import cipher
from streams.personal_data.data_keys import MasterKey, MasterKeys, unwrap_person
from streams.personal_data.key_store import KeyRecord, KeyStore


class KeyRewrapping:
    def __init__(self, store: KeyStore, master_keys: MasterKeys) -> None:
        self._store = store
        self._master_keys = master_keys

    async def run(self) -> int:
        """Wraps all persons' keys with the current master key; returns how many were not wrapped with it before.

        Repeatable: after an error or a crash another call does what is left.
        Keys may be read, created and destroyed meanwhile.

        Raises:
            KeysUnavailable: the store does not answer, or the master key of a person's key is missing.
        """
        master, rewrapped = self._master_keys.current(), 0
        async for page in self._store.pages():
            older = {
                key_id
                for key_id, record in page
                if wrapped_by(key_id) is None and record.destroyed_at is None and record.kek != master.tag.hex()
            }
            rewrapped += sum(await asyncio.gather(*(self._rewrap(key_id, master) for key_id in older)))
        return rewrapped

    async def _rewrap(self, key_id: str, master: MasterKey) -> bool:
        """Wraps one key; returns False if it was destroyed meanwhile."""
        tag = master.tag.hex()
        while True:
            versions = await self._store.versions(key_id)
            if not versions or versions[-1].record.destroyed_at is not None or versions[-1].record.is_mark:
                return False
            latest = versions[-1]
            key = unwrap_person(key_id, latest.record, self._master_keys)
            # What an earlier call left of the record that this one replaced. Before the put: it would push the oldest
            # record out of the bucket, and its bytes would stay on disk.
            for version in versions[:-1]:
                await self._store.erase(version.revision)
            if latest.record.kek == tag:
                return True
            wrapped = cipher.wrap(master.cipher, tag, key_id, key)
            record = KeyRecord.of(kek=tag, wrapped=wrapped, is_recorded=latest.record.is_recorded)
            try:
                await self._store.put(key_id, record, revision=latest.revision)
            except Changed:
                # Another call wrapped it, or it was destroyed.
                continue
