"""Destroys data keys, so that what they sealed can never be read again. For auth, which alone may write the store.

First a tombstone follows the key, then the key's bytes are overwritten in the store. So a reader finds the key or its
tombstone at every moment, and never nothing, which means that the key is lost.
"""

from collections.abc import Callable
from datetime import datetime

from contracts import envelope
from contracts.personal_data.key_ids import person_key
from streams.jetstream.key_value import Changed
from streams.personal_data.key_store import KeyRecord, KeyStore


class KeyDestruction:
    def __init__(self, store: KeyStore, *, clock: Callable[[], datetime] = envelope.now) -> None:
        self._store = store
        self._clock = clock

    async def destroy_person(self, user_id: str) -> None:
        """Destroys the key of a person, and with it the keys that it wraps: those of all that the person wrote."""
        await self.destroy(person_key(user_id))

    async def destroy(self, key_id: str) -> bool:
        """Replaces the key with a tombstone and overwrites its bytes; returns whether this call stored the tombstone.

        Repeatable: after an error or a crash at any step, another call completes the destruction.
        A key that is created or wrapped again meanwhile is destroyed too. A key that never existed gets a tombstone.

        Raises:
            OutOfSpace: the event store has no space for the tombstone; the key is there.
            KeysUnavailable: the store does not answer; the key may be destroyed.
        """
        is_stored = False
        while True:
            versions = await self._store.versions(key_id)
            # Before the tombstone, which would push the oldest of two records out of the store and leave its bytes.
            for version in versions[:-1]:
                await self._store.erase(version.revision)
            if versions and versions[-1].record.destroyed_at is not None:
                return is_stored
            revision = versions[-1].revision if versions else 0
            try:
                await self._store.put(key_id, KeyRecord.tombstone(self._clock()), revision=revision)
                is_stored = True
            except Changed:
                # It was created or wrapped again at this moment, or another process has put the tombstone.
                continue
