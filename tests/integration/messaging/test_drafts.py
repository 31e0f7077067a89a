"""Drafts in their bucket: however many there are, and while it is away."""

import pytest
from nats.aio.client import Client

from contracts.errors import Unavailable
from contracts.subjects import DRAFTS, key_of, stream_of_bucket
from contracts.values.ids import new_id
from services.messaging.settings.drafts import Drafts
from streams.jetstream.api import JetStream
from streams.jetstream.key_value import KeyValue
from streams.topology import ensure_bucket

TEXT = "x" * 3_999 + "\U0001f600"


async def test_a_page_s_drafts_are_read_among_ten_thousand_of_a_user(nats: Client) -> None:
    await ensure_bucket(nats, DRAFTS, replicas=1)
    drafts = Drafts(nats)
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


async def test_while_the_bucket_is_away_nothing_is_read_and_nothing_counts_as_saved(nats: Client) -> None:
    drafts = Drafts(nats)
    assert await drafts.of(new_id(), [new_id()]) is None
    # A page without conversations needs no bucket.
    assert await drafts.of(new_id(), []) == {}
    with pytest.raises(Unavailable):
        await drafts.save(new_id(), new_id(), "text")
