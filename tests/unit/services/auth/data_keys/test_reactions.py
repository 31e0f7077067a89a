"""What the end of keys has as its consequence."""

import asyncio
from typing import Any, cast

from contracts.envelope import Provenance, Recorded, encode, seal
from contracts.events.data_keys import DataKeysDestroyed
from contracts.personal_data.key_ids import text_key
from contracts.subjects import data_keys
from contracts.values.ids import new_id
from contracts.values.timestamps import from_unix_ms
from services.auth.data_keys.reactions import KeyDestructions
from streams.message import Message
from streams.personal_data.keys.destruction import KeyDestruction

USER = new_id()


class Destruction:
    """Destroys a key only once the given number of destructions run at the same time."""

    def __init__(self, at_once: int) -> None:
        self._together = asyncio.Barrier(at_once)
        self.destroyed: list[str] = []

    async def destroy(self, key_id: str) -> None:
        await self._together.wait()
        self.destroyed.append(key_id)


def destroyed(*key_ids: str) -> Recorded[DataKeysDestroyed]:
    event = DataKeysDestroyed(key_ids=key_ids, reason="retention")
    payload = encode(seal(event, aggregate_id=USER, version=1, provenance=Provenance()))
    recorded: Any = Message("AUTH", 1, data_keys(USER), payload).open()
    return cast(Recorded[DataKeysDestroyed], recorded)


async def test_many_keys_are_destroyed_at_the_same_time() -> None:
    key_ids = [text_key(new_id(), USER, from_unix_ms(0)) for _ in range(40)]
    destruction = Destruction(at_once=10)
    async with asyncio.timeout(60):
        await KeyDestructions(cast(KeyDestruction, destruction)).destroy(destroyed(*key_ids))
    assert sorted(destruction.destroyed) == sorted(key_ids)
