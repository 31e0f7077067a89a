"""Persons' keys are wrapped with the current master key, whatever happens meanwhile, and the older one may go."""

import asyncio
import base64
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from nats.aio.client import Client

from contracts.errors import KeysUnavailable
from contracts.personal_data.key_ids import person_key, text_key
from contracts.subjects import DATA_KEYS
from contracts.values.ids import new_id
from infra.embedded.nats_server import NatsServer
from infra.security.key_ring import Key
from streams.personal_data import cipher
from streams.personal_data.data_keys import DataKeys
from streams.personal_data.key_store import KeyRecord, KeyStore
from streams.personal_data.keys.creation import KeyCreation
from streams.personal_data.keys.destruction import KeyDestruction
from streams.personal_data.keys.rewrapping import KeyRewrapping
from streams.topology import ensure_bucket
from tests.integration.recorded_keys import Recorded

AT = datetime(2026, 12, 1, tzinfo=UTC)
# Seconds; a request may wait behind hundreds of writes to a busy disk.
PATIENCE = 60.0


class Ring:
    """Master keys; the newest wraps new keys."""

    def __init__(self) -> None:
        self.keys = [new_master_key()]

    def rotate(self) -> None:
        self.keys.append(new_master_key())

    def current(self) -> Key[AESGCM]:
        return self.keys[-1]

    def find(self, tag: bytes) -> Key[AESGCM] | None:
        return next((key for key in self.keys if key.tag == tag), None)


def new_master_key() -> Key[AESGCM]:
    return Key(bytes.fromhex(new_id()[-8:]), AESGCM(cipher.new_key()))


class StopsAfterPut(KeyStore):
    """Ends after the first record that it has stored."""

    async def put(self, key_id: str, record: KeyRecord, *, revision: int) -> int:
        await super().put(key_id, record, revision=revision)
        raise ConnectionAbortedError


@pytest.fixture
async def store(nats: Client) -> KeyStore:
    await ensure_bucket(nats, DATA_KEYS, replicas=1)
    return KeyStore(nats, patience=PATIENCE)


async def created(store: KeyStore, ring: Ring, count: int) -> list[str]:
    """Persons' keys, each with a key of texts."""
    users = [new_id() for _ in range(count)]
    await KeyCreation(store, ring, Recorded()).create([text_key(new_id(), user, AT) for user in users])
    return [person_key(user) for user in users]


async def test_after_a_rewrapping_the_older_master_key_is_not_needed(store: KeyStore) -> None:
    ring = Ring()
    persons = await created(store, ring, 300)
    texts = [key_id async for page in store.pages() for key_id, _ in page if key_id not in persons]
    ring.rotate()
    assert await KeyRewrapping(store, ring).run() == 300
    del ring.keys[0]
    assert None not in (await DataKeys(store, ring).find([*persons, *texts])).values()
    assert await KeyRewrapping(store, ring).run() == 0
    records = [record async for page in store.pages() for _, record in page]
    assert all(record.is_recorded for record in records)


async def test_a_rewrapping_that_was_cut_off_twice_is_completed_and_leaves_no_older_record(
    store: KeyStore, nats: Client, nats_server: NatsServer, tmp_path: Path
) -> None:
    ring = Ring()
    [person] = await created(store, ring, 1)
    older = []
    for _ in range(2):
        latest = await store.latest(person)
        assert latest is not None
        older.append(latest.record.wrapped)
        ring.rotate()
        with pytest.raises(ConnectionAbortedError):
            await KeyRewrapping(StopsAfterPut(nats, patience=PATIENCE), ring).run()
        assert len(await store.versions(person)) == 2
    assert await KeyRewrapping(store, ring).run() == 1
    assert len(await store.versions(person)) == 1
    del ring.keys[:2]
    assert (await DataKeys(store, ring).find([person]))[person] is not None
    await nats_server.stop()
    content = b"".join(path.read_bytes() for path in (tmp_path / "nats").rglob("*") if path.is_file())
    for wrapped in older:
        assert wrapped.encode() not in content
        assert base64.b64decode(wrapped) not in content


async def test_keys_are_read_created_and_destroyed_meanwhile(store: KeyStore, nats: Client) -> None:
    ring = Ring()
    persons = await created(store, ring, 200)
    destroyed = persons[::7]
    ring.rotate()
    keys = DataKeys(KeyStore(nats, patience=PATIENCE), ring, seconds=0)

    async def read() -> None:
        reads = 0
        while reads < 5:
            data_keys = await keys.find(persons)
            assert {key_id for key_id, key in data_keys.items() if key is None} <= set(destroyed)
            reads += 1

    async def destroy() -> None:
        for key_id in destroyed:
            await KeyDestruction(store).destroy(key_id)

    added, *_ = await asyncio.gather(
        created(store, ring, 50), read(), destroy(), KeyRewrapping(store, ring).run(), KeyRewrapping(store, ring).run()
    )
    await KeyRewrapping(store, ring).run()
    del ring.keys[0]
    data_keys = await DataKeys(store, ring).find([*persons, *added])
    assert {key_id for key_id, key in data_keys.items() if key is None} == set(destroyed)
    assert [len(await store.versions(key_id)) for key_id in (*persons, *added)] == [1] * 250


async def test_without_the_older_master_key_nothing_is_lost(store: KeyStore) -> None:
    ring = Ring()
    [person] = await created(store, ring, 1)
    first, ring.keys = ring.keys, [new_master_key()]
    with pytest.raises(KeysUnavailable):
        await KeyRewrapping(store, ring).run()
    ring.keys = [*first, *ring.keys]
    assert await KeyRewrapping(store, ring).run() == 1
    assert (await DataKeys(store, ring).find([person]))[person] is not None
