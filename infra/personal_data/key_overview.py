"""Counts of the store of data keys: how many persons' keys each master key wraps, and how many keys were destroyed."""

from collections import Counter
from collections.abc import Collection

import msgspec

from contracts.personal_data.key_ids import wrapped_by
from streams.personal_data.key_store import KeyStore


class MasterKeyUse(msgspec.Struct, frozen=True):
    """One master key and the persons' keys that it wraps."""

    # The random end of its id.
    tag: str
    persons: int
    # Whether the secrets folder has it. Without it these persons' data cannot be read.
    present: bool
    # Whether it wraps new keys.
    current: bool


class KeyOverview(msgspec.Struct, frozen=True):
    master_keys: list[MasterKeyUse]
    # Keys of what a person wrote in one conversation in one month.
    texts: int
    # Tombstones, of persons and of texts.
    destroyed: int


async def overview(store: KeyStore, tags: Collection[str], current: str) -> KeyOverview:
    """
    `tags`: of the master keys in the secrets folder; `current`: of the one that wraps new keys.

    Raises:
        KeysUnavailable: the store does not answer.
    """
    persons: Counter[str] = Counter(dict.fromkeys(tags, 0))
    texts = destroyed = 0
    async for page in store.pages():
        for key_id, record in page:
            if record.destroyed_at is not None:
                destroyed += 1
            elif wrapped_by(key_id) is None:
                persons[record.kek] += 1
            else:
                texts += 1
    uses = [MasterKeyUse(tag, count, tag in tags, tag == current) for tag, count in persons.items()]
    return KeyOverview(uses, texts, destroyed)
