"""Drafts in their bucket: however many there are, sealed, and while it is away."""

import pytest
from nats.aio.client import Client

from contracts.errors import Unavailable, UserNotFound
from contracts.subjects import DATA_KEYS, DRAFTS, key_of, stream_of_bucket
from contracts.values.ids import new_id
from services.messaging.settings.drafts import Drafts
from streams.jetstream.api import JetStream
from streams.jetstream.key_value import KeyValue
from streams.personal_data.data_keys import DataKeys
from streams.personal_data.key_store import KeyStore
from streams.personal_data.keys.creation import KeyCreation
from streams.personal_data.keys.destruction import KeyDestruction
from streams.personal_data.sealer import Sealer
from streams.personal_data.unsealer import Unsealer
from streams.topology import ensure_bucket
from tests.integration.recorded_keys import RING, Recorded

TEXT = "x" * 3_999 + "\U0001f600"


async def test_a_page_s_drafts_are_read_among_ten_thousand_of_a_user(nats: Client) -> None:
    await ensure_bucket(nats, DRAFTS, replicas=1)
    drafts, _ = await opened(nats)
    user_id, conversations = new_id(), [new_id() for _ in range(10_000)]
    for conversation_id in conversations:
        await nats.publish(key_of(DRAFTS, f"{user_id}.{conversation_id}"), conversation_id.encode())
    # Stored after all of those.
    await KeyValue(nats, DRAFTS, patience=120).put("end", b"")
    await drafts.save(user_id, conversations[0], TEXT)
    await drafts.save(user_id, conversations[1], "")
    page = [*conversations[:100], *conversations[-100:], new_id()]
    expected = {conversation_id: conversation_id for conversation_id in page[2:-1]} | {conversations[0]: TEXT}
    assert await drafts.of(user_id, page) == expected
    assert await drafts.of(new_id(), page) == {}
    config = (await JetStream(nats).info(stream_of_bucket(DRAFTS))).config
    # Bounded: one value a key, for 30 days, and at the bound the oldest is dropped for the newest.
    assert (config["max_msgs_per_subject"], config["max_age"], config["discard"]) == (1, 30 * 86_400 * 10**9, "old")
    assert config["max_bytes"] == 256 * 1024 * 1024


async def test_a_draft_is_stored_sealed_and_ends_with_its_author(nats: Client) -> None:
    await ensure_bucket(nats, DRAFTS, replicas=1)
    drafts, store = await opened(nats)
    user_id, conversation_id = new_id(), new_id()
    plain = KeyValue(nats, DRAFTS)
    # By the release before.
    await plain.put(f"{user_id}.{conversation_id}", b"in plain form")
    assert await drafts.of(user_id, [conversation_id]) == {conversation_id: "in plain form"}
    await drafts.save(user_id, conversation_id, "a secret")
    assert await drafts.of(user_id, [conversation_id]) == {conversation_id: "a secret"}
    assert await plain.get_many([f"{user_id}.{conversation_id}"]) == {}
    stored = (await plain.get_many([f"{user_id}.{conversation_id}.sealed"]))[f"{user_id}.{conversation_id}.sealed"]
    assert b"secret" not in stored
    await plain.put(f"{user_id}.{conversation_id}", b"later, in plain form")
    assert await drafts.of(user_id, [conversation_id]) == {conversation_id: "later, in plain form"}
    await drafts.save(user_id, conversation_id, "")
    assert await drafts.of(user_id, [conversation_id]) == {}
    await drafts.save(user_id, conversation_id, "sent through the release before")
    # Which removes what it knows of.
    await plain.delete(f"{user_id}.{conversation_id}")
    assert await drafts.of(user_id, [conversation_id]) == {}
    await drafts.save(user_id, conversation_id, "a secret")
    await KeyDestruction(store).destroy_person(user_id)
    later, _ = await opened(nats)
    assert await later.of(user_id, [conversation_id]) == {}
    with pytest.raises(UserNotFound):
        await later.save(user_id, conversation_id, "again")


async def opened(nats: Client) -> tuple[Drafts, KeyStore]:
    """The drafts as a new process reads and writes them."""
    await ensure_bucket(nats, DATA_KEYS, replicas=1)
    store = KeyStore(nats)
    keys = DataKeys(store, RING)
    return Drafts(nats, Sealer(keys, KeyCreation(store, RING, Recorded()).create), Unsealer(keys)), store


async def test_while_the_bucket_is_away_nothing_is_read_and_nothing_counts_as_saved(nats: Client) -> None:
    store = KeyStore(nats)
    keys = DataKeys(store, RING)
    drafts = Drafts(nats, Sealer(keys, KeyCreation(store, RING, Recorded()).create), Unsealer(keys))
    assert await drafts.of(new_id(), [new_id()]) is None
    # A page without conversations needs no bucket.
    assert await drafts.of(new_id(), []) == {}
    with pytest.raises(Unavailable):
        await drafts.save(new_id(), new_id(), "text")
