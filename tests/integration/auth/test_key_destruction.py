"""Keys are destroyed so that no reader finds an error at any moment, and no file has them any more."""

import base64
from pathlib import Path

import pytest
from nats.aio.client import Client as NATS

from contracts.envelope import now
from contracts.events.message import MessageSent
from contracts.personal_data.key_ids import person_key, text_key
from contracts.values.ids import new_id
from infra.embedded.nats_server import NatsServer
from infra.security.secrets import Secrets
from streams.personal_data.data_keys import DataKeys
from streams.personal_data.key_store import KeyRecord, KeyStore
from streams.personal_data.keys.creation import KeyCreation
from streams.personal_data.keys.destruction import KeyDestruction
from streams.personal_data.sealer import Sealer
from streams.personal_data.unsealer import Unsealer
from tests.integration.auth.test_data_keys import USER, Stopped, StopsAt
from tests.integration.auth_and_session import TERMS
from tests.integration.recorded_keys import Recorded


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("request_number", [1, 2])
async def test_a_destruction_that_was_cut_off_is_completed_by_another_one(
    store: KeyStore, streams: NATS, secrets: Secrets, request_number: int, before: bool
) -> None:
    master_keys = secrets.personal_data_keys(TERMS)
    await KeyCreation(store, master_keys, Recorded()).create([person_key(USER)])
    with pytest.raises(Stopped):
        await KeyDestruction(StopsAt(streams, request_number, before=before)).destroy_person(USER)
    for _ in range(2):
        await KeyDestruction(store).destroy_person(USER)
        assert await DataKeys(store, master_keys).find([person_key(USER)]) == {person_key(USER): None}
        assert len(await store.versions(person_key(USER))) == 1


async def test_a_key_that_is_created_during_its_destruction_is_destroyed(
    store: KeyStore, streams: NATS, secrets: Secrets
) -> None:
    master_keys = secrets.personal_data_keys(TERMS)
    created: list[str] = []

    class CreatesBetween(KeyStore):
        async def put(self, key_id: str, record: KeyRecord, *, revision: int) -> int:
            if not created:
                # It looked for a key before there was one.
                await KeyCreation(store, master_keys, Recorded()).create([person_key(USER)])
                created.append(key_id)
            return await super().put(key_id, record, revision=revision)

    await KeyDestruction(CreatesBetween(streams)).destroy_person(USER)
    assert created
    [version] = await store.versions(person_key(USER))
    assert version.record.destroyed_at is not None


@pytest.mark.parametrize("records", [1, 2])
@pytest.mark.parametrize("whole_person", [True, False], ids=["person", "month"])
async def test_at_every_moment_of_a_destruction_a_text_is_readable_or_erased_and_never_in_error(
    store: KeyStore, streams: NATS, secrets: Secrets, whole_person: bool, records: int
) -> None:
    master_keys, conversation, at = secrets.personal_data_keys(TERMS), new_id(), now()
    sent = MessageSent(
        message_id=new_id(), sender_id=USER, recipient_id=new_id(), sequence=1, text="hello", client_message_id="c"
    )
    sealer = Sealer(DataKeys(store, master_keys), KeyCreation(store, master_keys, Recorded()).create)
    sealed = await sealer.seal([sent], aggregate_id=conversation, at=at)
    key_id = person_key(USER) if whole_person else text_key(conversation, USER, at)
    if records == 2:
        # As a rewrapping leaves it that ends at this moment.
        [stored] = await store.versions(key_id)
        await store.put(key_id, stored.record, revision=stored.revision)
    texts: list[str] = []

    async def read() -> None:
        # By a process that has no key in its memory.
        [event] = await Unsealer(DataKeys(store, master_keys)).unseal(sealed)
        texts.append(event.text)

    class ReadBetween(KeyStore):
        async def erase(self, revision: int) -> None:
            await super().erase(revision)
            await read()

        async def put(self, key_id: str, record: KeyRecord, *, revision: int) -> int:
            stored = await super().put(key_id, record, revision=revision)
            await read()
            return stored

    await KeyDestruction(ReadBetween(streams)).destroy(key_id)
    assert texts == ["hello"] * (records - 1) + ["", ""]
    assert len(await store.versions(key_id)) == 1


async def test_of_a_destroyed_key_no_file_of_the_server_has_a_byte(
    store: KeyStore, secrets: Secrets, nats_server: NatsServer, tmp_path: Path
) -> None:
    master_keys, users = secrets.personal_data_keys(TERMS), [new_id() for _ in range(20)]
    await KeyCreation(store, master_keys, Recorded()).create([person_key(user) for user in users])
    records = await store.find([person_key(user) for user in users])
    wrapped = {key_id: record.wrapped for key_id, record in records.items()}
    await nats_server.stop()
    assert on_disk(tmp_path / "nats", wrapped) == wrapped.keys()
    await nats_server.start()
    # One in the middle of its file, and the last one.
    erased = {person_key(users[7]), person_key(users[-1])}
    for user in (users[7], users[-1]):
        await KeyDestruction(store).destroy_person(user)
    await nats_server.stop()
    assert on_disk(tmp_path / "nats", wrapped) == wrapped.keys() - erased


def on_disk(folder: Path, wrapped: dict[str, str]) -> set[str]:
    """The keys whose wrapped bytes a file has, as stored or decoded."""
    content = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    return {key_id for key_id, text in wrapped.items() if text.encode() in content or base64.b64decode(text) in content}
