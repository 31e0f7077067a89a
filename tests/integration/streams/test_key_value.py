"""A key-value bucket keeps the last value of each key."""

import asyncio

import pytest
from nats.aio.client import Client

from contracts.errors import Unavailable
from contracts.subjects import DATA_EXPORTS, LAST_SEEN, key_of, stream_of_bucket
from infra.embedded.nats_server import NatsServer
from streams.jetstream import key_value
from streams.jetstream.api import JetStream
from streams.jetstream.key_value import MOST_KEYS, KeyValue
from streams.topology import ensure_bucket, ensure_stream, prepare_bucket, settings_of_bucket

# Seconds; a request may wait behind a thousand writes to a busy disk.
PATIENCE = 60.0


async def test_the_last_value_of_a_key_is_kept_and_a_deleted_one_is_gone(nats: Client) -> None:
    await ensure_bucket(nats, LAST_SEEN, replicas=1)
    values = KeyValue(nats, LAST_SEEN, patience=PATIENCE)
    for key, value in (("a", b"1"), ("b", b"2"), ("a", b"3"), ("c", b"4")):
        await values.put(key, value)
    await values.delete("b")
    assert await values.get_many(["a", "b", "c", "none"]) == {"a": b"3", "c": b"4"}
    assert await values.get_many(["none"]) == await values.get_many([]) == {}
    stored = (await JetStream(nats).info(stream_of_bucket(LAST_SEEN))).state
    assert stored.messages == 3  # one a key; the deletion of `b` counts


async def test_a_bucket_in_which_deletions_stayed_is_set_right_and_a_deletion_leaves_nothing(nats: Client) -> None:
    stream, required = stream_of_bucket(DATA_EXPORTS), settings_of_bucket(DATA_EXPORTS, replicas=1)
    await ensure_stream(nats, required | {"allow_msg_ttl": False, "max_age": 2 * required["max_age"]})
    await ensure_bucket(nats, DATA_EXPORTS, replicas=1)
    assert (config := (await JetStream(nats).info(stream)).config) | required == config
    values = KeyValue(nats, DATA_EXPORTS, patience=PATIENCE)
    await values.put("a", b"1")
    await values.delete("a", seconds=1)
    assert await values.get_many(["a"]) == {}
    async with asyncio.timeout(60):
        while (await JetStream(nats).info(stream)).state.messages:
            await asyncio.sleep(0.1)


async def test_more_keys_than_fit_into_a_request_are_read(nats: Client) -> None:
    await ensure_bucket(nats, LAST_SEEN, replicas=1)
    values = KeyValue(nats, LAST_SEEN, patience=PATIENCE)
    keys = [str(number) for number in range(MOST_KEYS + 2)]
    for key in keys:
        await nats.publish(key_of(LAST_SEEN, key), key.encode())
    await values.put(keys[-1], keys[-1].encode())
    assert await values.get_many(keys) == {key: key.encode() for key in keys}


async def test_other_clients_of_buckets_read_and_write_the_same_values(nats: Client) -> None:
    await ensure_bucket(nats, LAST_SEEN, replicas=1)
    bucket = await nats.jetstream().key_value(LAST_SEEN)
    await KeyValue(nats, LAST_SEEN, patience=PATIENCE).put("a", b"1")
    assert (await bucket.get("a")).value == b"1"
    await bucket.purge("a")
    assert await KeyValue(nats, LAST_SEEN, patience=PATIENCE).get_many(["a"]) == {}


async def test_a_bucket_that_is_missing_or_away_is_unavailable(nats: Client, nats_server: NatsServer) -> None:
    values = KeyValue(nats, LAST_SEEN, patience=0.5)
    with pytest.raises(Unavailable):
        await values.put("a", b"1")
    with pytest.raises(Unavailable):
        await values.get_many(["a"])
    await nats_server.stop()
    with pytest.raises(Unavailable):
        await values.get_many(["a"])


async def test_a_request_that_the_server_refuses_is_no_answer_without_values(
    nats: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ensure_bucket(nats, LAST_SEEN, replicas=1)
    values = KeyValue(nats, LAST_SEEN, patience=PATIENCE)
    keys = [str(number) for number in range(1_100)]
    for key in keys:
        await nats.publish(key_of(LAST_SEEN, key), b"1")
    await values.put(keys[-1], b"1")
    monkeypatch.setattr(key_value, "MOST_KEYS", len(keys))  # more than the server accepts
    with pytest.raises(Unavailable):
        await values.get_many(keys)


async def test_a_bucket_that_cannot_be_prepared_is_prepared_later(
    nats: Client, caplog: pytest.LogCaptureFixture
) -> None:
    stream, required = stream_of_bucket(LAST_SEEN), settings_of_bucket(LAST_SEEN, replicas=1)
    await ensure_stream(nats, required | {"max_msgs_per_subject": 5})
    await prepare_bucket(nats, LAST_SEEN, replicas=1, attempts=1)
    assert "max_msgs_per_subject" in caplog.messages[-1]
    preparing = asyncio.create_task(prepare_bucket(nats, LAST_SEEN, replicas=1))
    async with asyncio.timeout(60):
        while len(caplog.messages) < 2:
            await asyncio.sleep(0.01)
        assert not preparing.done()
        await nats.jetstream().delete_stream(stream)
        await preparing
    config = (await JetStream(nats).info(stream)).config
    assert config | required == config


async def test_making_a_bucket_again_changes_nothing(nats: Client) -> None:
    for _ in range(2):
        await ensure_bucket(nats, LAST_SEEN, replicas=1)
        await KeyValue(nats, LAST_SEEN, patience=PATIENCE).put("a", b"1")
    config = (await JetStream(nats).info(stream_of_bucket(LAST_SEEN))).config
    assert config | settings_of_bucket(LAST_SEEN, replicas=1) == config
