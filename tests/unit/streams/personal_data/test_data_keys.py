"""Keys are looked up together, kept for a bounded time, and lost is not erased."""

import asyncio
from collections.abc import Collection
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from contracts.errors import KeysUnavailable
from contracts.personal_data.key_ids import person_key, text_key
from contracts.values.ids import new_id
from infra.security.key_ring import Key
from streams.personal_data import cipher
from streams.personal_data.data_keys import DataKeys
from streams.personal_data.key_store import KeyRecord
from streams.personal_data.metrics import FAILURES

AT = datetime(2026, 12, 1, tzinfo=UTC)


class Ring:
    def __init__(self) -> None:
        self.key = Key(b"tag1", AESGCM(cipher.new_key()))

    def current(self) -> Key[AESGCM]:
        return self.key

    def find(self, tag: bytes) -> Key[AESGCM] | None:
        return self.key if tag == self.key.tag else None


class Records:
    """The records of a person and of their texts in one conversation."""

    def __init__(self) -> None:
        self.ring = Ring()
        self.requests: list[list[str]] = []
        user, conversation = new_id(), new_id()
        self.user_id, self.person, self.text = user, person_key(user), text_key(conversation, user, AT)
        self.key = cipher.new_key()
        tag = self.ring.key.tag.hex()
        self.records = {
            self.person: KeyRecord.of(kek=tag, wrapped=cipher.wrap(self.ring.key.cipher, tag, self.person, self.key)),
            self.text: KeyRecord.of(
                kek=self.person, wrapped=cipher.wrap(AESGCM(self.key), self.person, self.text, cipher.new_key())
            ),
        }

    async def find(self, key_ids: Collection[str], *, required: bool) -> dict[str, KeyRecord]:
        self.requests.append(list(key_ids))
        return {key_id: self.records[key_id] for key_id in key_ids if key_id in self.records}


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def records() -> Records:
    return Records()


def failures(reason: str) -> float:
    value: float = FAILURES.labels(reason)._value.get()
    return value


async def test_a_key_of_texts_and_the_key_that_wraps_it_are_one_request(records: Records) -> None:
    keys = await DataKeys(records, records.ring).find([records.text])
    assert records.requests == [[records.person, records.text]]
    assert keys.keys() == {records.text}
    assert keys[records.text] is not None


async def test_a_cached_key_is_used_for_some_seconds_and_then_read_again(records: Records) -> None:
    clock = Clock()
    keys = DataKeys(records, records.ring, seconds=30, clock=clock)
    first = await keys.find([records.text, records.person])
    clock.now = 29.9
    assert await keys.find([records.person, records.text]) == first
    assert len(records.requests) == 1
    clock.now = 30.0
    await keys.find([records.text])
    assert len(records.requests) == 2


async def test_a_destroyed_key_is_none_and_so_are_the_keys_that_it_wrapped(records: Records) -> None:
    records.records[records.person] = KeyRecord.tombstone(AT)
    assert await DataKeys(records, records.ring).find([records.text]) == {records.text: None}
    del records.records[records.text]
    keys = await DataKeys(records, records.ring).find([records.text, records.person])
    assert keys == {records.text: None, records.person: None}


async def test_the_end_of_one_month_of_texts_leaves_the_person(records: Records) -> None:
    records.records[records.text] = KeyRecord.tombstone(AT)
    keys = await DataKeys(records, records.ring).find([records.text, records.person])
    assert keys[records.text] is None
    assert keys[records.person] is not None


async def test_a_destroyed_key_leaves_the_cache_in_time(records: Records) -> None:
    clock = Clock()
    keys = DataKeys(records, records.ring, seconds=30, clock=clock)
    assert (await keys.find([records.person]))[records.person] is not None
    records.records[records.person] = KeyRecord.tombstone(AT)
    assert (await keys.find([records.person]))[records.person] is not None
    clock.now = 30.0
    assert (await keys.find([records.person]))[records.person] is None


async def test_without_its_master_key_a_key_is_unavailable_until_the_master_key_is_there(records: Records) -> None:
    keys, ring = DataKeys(records, records.ring), records.ring
    present, ring.key = ring.key, Key(b"tag2", AESGCM(cipher.new_key()))
    before = failures("master_key")
    with pytest.raises(KeysUnavailable):
        await keys.find([records.text])
    assert failures("master_key") == before + 1
    ring.key = present
    assert (await keys.find([records.text]))[records.text] is not None


async def test_a_record_that_is_stored_under_another_id_is_not_used(records: Records) -> None:
    other = text_key(new_id(), records.user_id, AT)
    records.records[other] = records.records[records.text]
    with pytest.raises(cipher.Undecipherable):
        await DataKeys(records, records.ring).find([other])
    with pytest.raises(KeysUnavailable):
        await DataKeys(records, records.ring).look_up([other])


@pytest.mark.parametrize("key_id", ["", ">", "person.>", "person.x"])
async def test_an_event_can_ask_for_nothing_but_a_key(records: Records, key_id: str) -> None:
    with pytest.raises(cipher.Undecipherable):
        await DataKeys(records, records.ring).find([key_id])
    assert records.requests == []


async def test_an_expired_key_leaves_the_memory_though_nothing_asks_for_it(records: Records) -> None:
    keys = DataKeys(records, records.ring, seconds=0.05)
    await keys.find([records.text])
    assert len(keys._cache) == 2
    async with asyncio.timeout(60):
        while len(keys._cache):
            await asyncio.sleep(0.01)


async def test_the_cache_is_bounded(records: Records) -> None:
    keys = DataKeys(records, records.ring, capacity=1)
    for _ in range(2):
        await keys.find([records.person])
        await keys.find([records.text])
    assert len(records.requests) == 4
