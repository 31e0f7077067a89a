"""Data keys in their bucket: created once, read together, and what is sealed with them is read back."""

import asyncio
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from nats.aio.client import Client

from contracts.errors import KeysUnavailable, UserNotFound
from contracts.events.message import MessageSent
from contracts.events.profile import ProfileUpdated
from contracts.events.session import SessionCreated
from contracts.personal_data.key_ids import person_key, text_key
from contracts.subjects import DATA_KEYS, key_of, stream_of_bucket
from contracts.values.ids import new_id
from contracts.values.personal_data import Sealed
from infra.embedded.nats_server import NatsServer
from streams.jetstream.api import JetStream
from streams.jetstream.key_value import Changed, KeyValue, Put
from streams.message import Message
from streams.personal_data import cipher
from streams.personal_data.data_keys import DataKeys
from streams.personal_data.key_store import KeyRecord, KeyStore, StoredKey
from streams.personal_data.keys.creation import KeyCreation
from streams.personal_data.keys.destruction import KeyDestruction
from streams.personal_data.metrics import FAILURES, LOST
from streams.personal_data.sealer import Sealer
from streams.personal_data.unsealer import Unsealer
from streams.topology import DangerousStream, differences, ensure_bucket, settings_of_bucket
from tests.integration.recorded_keys import RING, Recorded

AT = datetime(2026, 12, 1, tzinfo=UTC)


@pytest.fixture
async def store(nats: Client) -> KeyStore:
    await ensure_bucket(nats, DATA_KEYS, replicas=1)
    return KeyStore(nats, patience=60.0)


def message(sender_id: str, text: str) -> MessageSent:
    return MessageSent(
        message_id=new_id(), sender_id=sender_id, recipient_id=new_id(), sequence=1, text=text, client_message_id="c"
    )


async def test_what_is_sealed_with_new_keys_is_read_by_another_process(store: KeyStore) -> None:
    anna, conversation = new_id(), new_id()
    sealer = Sealer(DataKeys(store, RING), KeyCreation(store, RING, Recorded()).create)
    profile = ProfileUpdated(display_name="Anna", bio="", avatar_url="https://example.org/a.png")
    sealed_profile = await sealer.seal([profile], aggregate_id=anna, at=AT)
    sealed_message = await sealer.seal([message(anna, "hello")], aggregate_id=conversation, at=AT)
    [name, text] = [sealed_profile[0].display_name, sealed_message[0].text]
    assert isinstance(name, Sealed)
    assert name.key == person_key(anna)
    assert isinstance(text, Sealed)
    assert text.key == text_key(conversation, anna, AT)
    # What is empty says nothing about anyone.
    assert sealed_profile[0].bio == ""
    unsealer = Unsealer(DataKeys(store, RING))
    assert await unsealer.unseal(sealed_profile) == [profile]
    assert [event.text for event in await unsealer.unseal(sealed_message)] == ["hello"]


async def test_what_the_next_release_seals_with_a_key_of_addresses_is_read_and_goes_with_its_month_and_its_person(
    store: KeyStore,
) -> None:
    anna, ben = new_id(), new_id()
    key_ids = [f"address.{user}.2026-12" for user in (anna, ben)]
    await KeyCreation(store, RING, Recorded()).create(key_ids)
    keys = await DataKeys(store, RING).find(key_ids)

    def logged_in(user_id: str, key_id: str) -> SessionCreated:
        key = keys[key_id]
        assert key is not None
        address: Any = cipher.seal(key, key_id, "session.created/address", "192.0.2.1")
        return SessionCreated(user_id=user_id, username="", device="", address=address, expires_at=AT)

    logins = [logged_in(user_id, key_id) for user_id, key_id in zip((anna, ben), key_ids, strict=True)]

    async def addresses() -> list[Any]:
        return [login.address for login in await Unsealer(DataKeys(store, RING)).unseal(logins)]

    assert await addresses() == ["192.0.2.1", "192.0.2.1"]
    await KeyDestruction(store).destroy(key_ids[0])
    assert await addresses() == ["", "192.0.2.1"]
    assert None not in (await DataKeys(store, RING).find([person_key(anna)])).values()
    await KeyDestruction(store).destroy_person(ben)
    assert await addresses() == ["", ""]


async def test_of_several_that_create_a_key_at_once_all_use_the_same_one(store: KeyStore) -> None:
    users, conversation = [new_id() for _ in range(5)], new_id()
    ids = [text_key(conversation, user, AT) for user in users]
    await asyncio.gather(*(KeyCreation(store, RING, Recorded()).create(ids) for _ in range(8)))
    records = await store.find(ids + [person_key(user) for user in users])
    assert len(records) == 10
    await KeyCreation(store, RING, Recorded()).create(ids)
    assert await store.find(list(records)) == records
    assert None not in (await DataKeys(store, RING).find(ids)).values()


async def test_keys_that_are_created_at_once_are_stored_together(
    nats: Client, store: KeyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches: list[int] = []
    together = KeyValue.put_all_if

    async def recorded(values: KeyValue, puts: Sequence[Put]) -> int:
        batches.append(len(puts))
        return await together(values, puts)

    monkeypatch.setattr(KeyValue, "put_all_if", recorded)
    ids = [text_key(new_id(), new_id(), AT) for _ in range(60)]
    creation = KeyCreation(store, RING, Recorded())
    await asyncio.gather(*(creation.create([key_id]) for key_id in ids))
    # A mark and a key, of each person and of each text.
    assert sum(batches) > 4 * len(ids) / 2
    assert len(batches) < len(ids)
    assert len(await store.find(ids)) == len(ids)
    assert None not in (await DataKeys(store, RING).find(ids)).values()
    # No mark is left.
    assert (await JetStream(nats).info(stream_of_bucket(DATA_KEYS))).state.messages == 2 * len(ids)


async def test_of_keys_that_are_stored_together_one_that_changed_does_not_stop_the_others(store: KeyStore) -> None:
    ids = [person_key(new_id()) for _ in range(20)]
    await store.put(ids[7], KeyRecord.tombstone(AT), revision=0)
    record = KeyRecord.of(kek="00", wrapped="")
    outcomes = await asyncio.gather(*(store.put(key_id, record, revision=0) for key_id in ids), return_exceptions=True)
    assert isinstance(outcomes[7], Changed)
    for key_id, outcome in zip(ids, outcomes, strict=True):
        [version] = await store.versions(key_id)
        assert version.record == (KeyRecord.tombstone(AT) if key_id == ids[7] else record)
        assert outcome == version.revision or key_id == ids[7]


async def test_a_destroyed_key_is_never_created_again(store: KeyStore) -> None:
    user = new_id()
    text = text_key(new_id(), user, AT)
    await store.put(person_key(user), KeyRecord.tombstone(AT), revision=0)
    for key_id in (person_key(user), text):
        with pytest.raises(UserNotFound):
            await KeyCreation(store, RING, Recorded()).create([key_id])
    assert await DataKeys(store, RING).find([person_key(user), text]) == {person_key(user): None, text: None}
    sealer = Sealer(DataKeys(store, RING), KeyCreation(store, RING, Recorded()).create)
    with pytest.raises(UserNotFound):
        await sealer.seal([ProfileUpdated(display_name="Anna")], aggregate_id=user, at=AT)


@pytest.mark.parametrize("lost", ["person", "text"])
async def test_a_key_that_the_store_has_lost_is_unavailable_and_not_erased(
    store: KeyStore, lost: str, caplog: pytest.LogCaptureFixture
) -> None:
    user = new_id()
    text = text_key(new_id(), user, AT)
    await KeyCreation(store, RING, Recorded()).create([text])
    key_id = person_key(user) if lost == "person" else text
    stored = await store.latest(key_id)
    assert stored is not None
    await store.erase(stored.revision)
    before = FAILURES.labels(LOST)._value.get()
    with pytest.raises(KeysUnavailable):
        await DataKeys(store, RING).find([text])
    assert FAILURES.labels(LOST)._value.get() == before + 1
    assert key_id in caplog.text
    assert await DataKeys(store, RING).look_up([text]) == {}


async def test_of_an_emptied_store_one_key_is_asked_for_and_of_a_destroyed_person_none(
    store: KeyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    latest = KeyStore.latest

    async def recorded(keys: KeyStore, key_id: str) -> StoredKey | None:
        asked.append(key_id)
        return await latest(keys, key_id)

    monkeypatch.setattr(KeyStore, "latest", recorded)
    with pytest.raises(KeysUnavailable):
        await DataKeys(store, RING).find([person_key(new_id()) for _ in range(100)])
    assert len(asked) == 1
    user = new_id()
    texts = [text_key(new_id(), user, AT) for _ in range(100)]
    await store.put(person_key(user), KeyRecord.tombstone(AT), revision=0)
    assert await DataKeys(store, RING).find(texts) == dict.fromkeys(texts)
    assert len(asked) == 1


async def test_a_key_that_is_gone_right_after_its_creation_is_unavailable(nats: Client, store: KeyStore) -> None:
    class Forgets(KeyStore):
        async def put(self, key_id: str, record: KeyRecord, *, revision: int) -> int:
            """Stores nothing."""
            return 1

    with pytest.raises(KeysUnavailable):
        await KeyCreation(Forgets(nats), RING, Recorded()).create([text_key(new_id(), new_id(), AT)])


async def test_all_keys_are_read_though_the_last_one_goes_meanwhile(
    store: KeyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = [new_id() for _ in range(3)]
    for user in users:
        await KeyCreation(store, RING, Recorded()).create([person_key(user)])
    many = JetStream.many

    async def behind(jetstream: JetStream, stream: str, subject: str, after: int) -> tuple[list[Message], bool]:
        """A replica without any record yet; at the leader the last one goes."""
        monkeypatch.setattr(JetStream, "many", many)
        last = await store.latest(person_key(users[-1]))
        assert last is not None
        await store.erase(last.revision)
        return [], False

    monkeypatch.setattr(JetStream, "many", behind)
    key_ids = [key_id async for page in store.pages() for key_id, _ in page]
    assert key_ids == [person_key(user) for user in users[:-1]]


async def test_a_key_that_a_replica_does_not_have_yet_is_read_from_the_leader(
    store: KeyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    key_id = person_key(new_id())
    await KeyCreation(store, RING, Recorded()).create([key_id])

    async def nothing(values: KeyValue, keys: Iterable[str]) -> dict[str, bytes]:
        return {}

    monkeypatch.setattr(KeyValue, "get_many", nothing)
    assert (await DataKeys(store, RING).find([key_id]))[key_id] is not None


async def test_a_store_that_is_away_is_unavailable_and_cached_keys_last_a_while(
    store: KeyStore, nats: Client, nats_server: NatsServer
) -> None:
    user, other = new_id(), new_id()
    await KeyCreation(store, RING, Recorded()).create([person_key(user), person_key(other)])
    now = 0.0
    keys = DataKeys(KeyStore(nats, patience=0.5), RING, clock=lambda: now)
    known = await keys.find([person_key(user)])
    await nats_server.stop()
    assert await keys.find([person_key(user)]) == known
    with pytest.raises(KeysUnavailable):
        await keys.find([person_key(other)])
    now = 30.0
    with pytest.raises(KeysUnavailable):
        await keys.find([person_key(user)])


async def test_a_record_of_a_later_release_is_waited_for(store: KeyStore, nats: Client) -> None:
    key_id = person_key(new_id())
    await nats.request(key_of(DATA_KEYS, key_id), b'{"v":2}', timeout=60)
    with pytest.raises(KeysUnavailable):
        await DataKeys(store, RING).find([key_id])


@pytest.mark.parametrize("value", [b"", b"{}", b"?", b'{"v":1,"kek":1}', b'{"v":1,"kek":"x"}'])
async def test_a_malformed_record_stops_its_events_alone_and_nothing_is_sealed_with_its_key(
    store: KeyStore, nats: Client, value: bytes
) -> None:
    user = new_id()
    text = text_key(new_id(), user, datetime.now(UTC))
    for key_id in (person_key(user), text):
        await nats.request(key_of(DATA_KEYS, key_id), value, timeout=60)
    for key_id in (person_key(user), text):
        with pytest.raises(cipher.Undecipherable):
            await DataKeys(store, RING).find([key_id])
        with pytest.raises(KeysUnavailable):
            await DataKeys(store, RING).look_up([key_id])


def test_no_setting_that_would_end_keys_is_changed() -> None:
    required = settings_of_bucket(DATA_KEYS, replicas=1)
    assert not any(required[setting] for setting in ("deny_delete", "allow_rollup_hdrs", "allow_msg_ttl", "max_age"))
    assert required["deny_purge"]
    with pytest.raises(DangerousStream):
        differences(required, required | {"max_age": 1})
