"""A person's cached key unwraps further keys, for its own time at most; where one of them is gone, it is read again."""

from collections.abc import Collection, Iterable
from datetime import UTC, datetime

import pytest
from nats.aio.client import Client

from contracts.errors import KeysUnavailable
from contracts.personal_data.key_ids import person_key, text_key
from contracts.subjects import DATA_KEYS
from contracts.values.ids import new_id
from infra.embedded.nats_server import NatsServer
from streams.jetstream.key_value import KeyValue
from streams.personal_data.data_keys import DataKeys
from streams.personal_data.key_store import KeyRecord, KeyStore
from streams.personal_data.keys.creation import KeyCreation
from streams.personal_data.keys.destruction import KeyDestruction
from streams.personal_data.metrics import FAILURES, LOST, UNREACHABLE
from streams.topology import ensure_bucket
from tests.integration.recorded_keys import RING, Recorded

AT = datetime(2026, 12, 1, tzinfo=UTC)


class RecordingStore(KeyStore):
    """The key store; records the ids that are looked up."""

    def __init__(self, nats: Client, *, patience: float = 60.0) -> None:
        super().__init__(nats, patience=patience)
        self.requests: list[list[str]] = []

    async def find(self, key_ids: Collection[str], *, required: bool = False) -> dict[str, KeyRecord]:
        self.requests.append(list(key_ids))
        return await super().find(key_ids, required=required)


class Person:
    """Someone who writes in three conversations; a reader has the key of the person and that of the first one."""

    def __init__(self, store: RecordingStore) -> None:
        user = new_id()
        self.store = store
        self.user_id, self.key = user, person_key(user)
        self.texts = [text_key(new_id(), user, AT) for _ in range(3)]
        self.now = 0.0
        self.keys = DataKeys(store, RING, clock=lambda: self.now)

    async def remove(self, *key_ids: str) -> None:
        """Removes all records of the keys: no reader can tell that from a loss by these keys alone."""
        for key_id in key_ids:
            for version in await self.store.versions(key_id):
                await self.store.erase(version.revision)


@pytest.fixture
async def person(nats: Client) -> Person:
    await ensure_bucket(nats, DATA_KEYS, replicas=1)
    person = Person(RecordingStore(nats))
    await KeyCreation(person.store, RING, Recorded()).create(person.texts)
    person.store.requests.clear()
    assert None not in (await person.keys.find(person.texts[:1])).values()
    return person


def failures(reason: str) -> float:
    value: float = FAILURES.labels(reason)._value.get()
    return value


async def test_a_persons_key_is_not_read_again_while_it_is_cached(person: Person) -> None:
    assert None not in (await person.keys.find(person.texts)).values()
    assert person.store.requests == [[person.key, person.texts[0]], person.texts[1:]]


async def test_what_a_cached_key_of_an_erased_person_has_unwrapped_ends_with_its_time(person: Person) -> None:
    await KeyDestruction(person.store).destroy_person(person.user_id)
    person.now = 29.9
    assert None not in (await person.keys.find(person.texts)).values()
    person.now = 30.0
    assert await person.keys.find(person.texts) == dict.fromkeys(person.texts)
    # Of a person who is known as erased nothing is read.
    count = len(person.store.requests)
    other = text_key(new_id(), person.user_id, AT)
    assert await person.keys.find([other]) == {other: None}
    assert len(person.store.requests) == count


async def test_keys_that_went_with_their_person_are_not_lost_though_the_persons_key_is_cached(person: Person) -> None:
    before = failures(LOST)
    await KeyDestruction(person.store).destroy_person(person.user_id)
    await person.remove(*person.texts)
    assert await person.keys.find(person.texts[1:]) == dict.fromkeys(person.texts[1:])
    assert failures(LOST) == before
    # The person's end is known from now on.
    assert await person.keys.find([person.key]) == {person.key: None}


@pytest.mark.parametrize("with_the_person", [False, True])
async def test_a_key_that_is_lost_is_unavailable_though_the_persons_key_is_cached(
    person: Person, with_the_person: bool
) -> None:
    before = failures(LOST)
    await person.remove(person.texts[1], *([person.key] if with_the_person else []))
    with pytest.raises(KeysUnavailable):
        await person.keys.find(person.texts)
    assert failures(LOST) == before + 1
    # Nothing else is unavailable.
    assert None not in (await person.keys.find([person.texts[2]])).values()


async def test_a_key_that_a_replica_lacks_is_read_from_the_leader_and_unwrapped_with_the_cached_key(
    person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing(values: KeyValue, keys: Iterable[str]) -> dict[str, bytes]:
        return {}

    monkeypatch.setattr(KeyValue, "get_many", nothing)
    assert None not in (await person.keys.find(person.texts[1:])).values()


async def test_with_the_store_away_a_key_is_unavailable_though_the_persons_key_is_cached(
    person: Person, nats: Client, nats_server: NatsServer
) -> None:
    before = failures(LOST), failures(UNREACHABLE)
    reader = DataKeys(RecordingStore(nats, patience=0.5), RING)
    await reader.find([person.key])
    await nats_server.stop()
    with pytest.raises(KeysUnavailable):
        await reader.find([person.texts[1]])
    assert (failures(LOST), failures(UNREACHABLE)) == (before[0], before[1] + 1)
