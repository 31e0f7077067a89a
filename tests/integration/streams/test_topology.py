"""Streams are made and brought up to date, and never changed in a way that could lose an event."""

import asyncio

import msgspec
import pytest
from nats.aio.client import Client

from contracts.subjects import CONTACT, LIMITS, MESSAGING, STREAMS
from streams.jetstream.api import JetStream
from streams.log import Log
from streams.topology import (
    DangerousStream,
    ensure_limits,
    ensure_streams,
    settings_of,
    settings_of_limits,
)
from tests.integration.streams.conftest import fill


async def create(nats: Client, stream: str, **other: object) -> None:
    config = settings_of(stream, replicas=1) | other
    answer = await nats.request(f"$JS.API.STREAM.CREATE.{stream}", msgspec.json.encode(config))
    assert b'"error"' not in answer.data


async def config_of(nats: Client, stream: str) -> dict[str, object]:
    return (await JetStream(nats).info(stream)).config


async def test_the_five_streams_have_their_settings(streams: Client) -> None:
    for stream in STREAMS:
        config = await config_of(streams, stream)
        assert config | settings_of(stream, replicas=1) == config


async def test_making_them_again_changes_nothing(streams: Client, log: Log) -> None:
    await fill(log, 3)
    await ensure_streams(streams, replicas=1)
    assert await log.end_of(MESSAGING) == 3


async def test_only_the_named_are_made(nats: Client) -> None:
    await ensure_streams(nats, replicas=1, names=[CONTACT])
    assert [info.config.name for info in await nats.jetstream().streams_info()] == [CONTACT]


async def test_several_may_make_them_at_once(nats: Client) -> None:
    await asyncio.gather(*(ensure_streams(nats, replicas=1) for _ in range(5)))
    assert len(await nats.jetstream().streams_info()) == len(STREAMS)


async def test_a_harmless_difference_is_set_right_and_events_stay(nats: Client) -> None:
    await create(nats, MESSAGING, description="old", allow_atomic=False, duplicate_window=1_000_000_000)
    await ensure_streams(nats, replicas=1)
    await fill(Log(nats), 3)
    config = await config_of(nats, MESSAGING)
    assert config | settings_of(MESSAGING, replicas=1) == config


async def test_how_long_the_counts_of_limits_are_kept_is_set_right(nats: Client) -> None:
    wanted = settings_of_limits(replicas=1)
    before = wanted | {"max_age": 7_200_000_000_000, "max_bytes": 1_000_000}
    answer = await nats.request(f"$JS.API.STREAM.CREATE.{LIMITS}", msgspec.json.encode(before))
    assert b'"error"' not in answer.data
    await ensure_limits(nats, replicas=1)
    config = await config_of(nats, LIMITS)
    assert config | wanted == config


@pytest.mark.parametrize(
    ("setting", "found"),
    [
        ("deny_delete", False),
        ("deny_purge", False),
        ("max_age", 3_600_000_000_000),
        ("max_msgs", 1_000),
        ("max_bytes", 1_000_000),
        ("max_msgs_per_subject", 1),
        ("storage", "memory"),
        ("subjects", ["vestnik.messaging.conversation.*"]),
        ("retention", "workqueue"),
    ],
)
async def test_a_dangerous_difference_stops_with_a_clear_word(nats: Client, setting: str, found: object) -> None:
    await create(nats, MESSAGING, **{setting: found})
    with pytest.raises(DangerousStream, match=f"stream MESSAGING has {setting} = ") as danger:
        await ensure_streams(nats, replicas=1, names=[MESSAGING])
    assert (danger.value.stream, danger.value.setting, danger.value.found) == (MESSAGING, setting, found)
    assert danger.value.wanted == settings_of(MESSAGING, replicas=1)[setting]
    assert (await config_of(nats, MESSAGING)).get(setting, False) == found
