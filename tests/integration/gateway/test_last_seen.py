"""When users were last online is written at most once a minute for each, and waits while the bucket is away."""

import asyncio
from datetime import UTC, datetime

from nats.aio.client import Client as NATS
from prometheus_client import CollectorRegistry

from contracts.errors import Unavailable
from contracts.subjects import LAST_SEEN, stream_of_bucket
from services.gateway.observability.presence_metrics import PresenceMetrics
from services.gateway.presence.last_seen import PAUSE_SECONDS, REFRESH_SECONDS, LastSeen
from streams.jetstream.api import JetStream
from streams.jetstream.key_value import KeyValue
from streams.topology import prepare_bucket

AT = datetime(2026, 1, 1, tzinfo=UTC).timestamp()


def text(seconds: int) -> str:
    return f"2026-01-01T00:00:{seconds:02}.000Z"


class BucketAndTimes:
    """The bucket, and the times of one gateway with a clock of its own."""

    def __init__(self, nats: NATS) -> None:
        self.nats = nats
        self.now = 1_000.0
        self.values = KeyValue(nats, LAST_SEEN, patience=60.0)
        self.hidden: set[str] = set()
        self.seen = self.gateway()

    def gateway(self) -> LastSeen:
        metrics = PresenceMetrics(CollectorRegistry())
        return LastSeen(
            self.values, metrics, hides=self.hidden.__contains__, prepare_bucket=self.make, clock=lambda: self.now
        )

    async def make(self) -> None:
        await prepare_bucket(self.nats, LAST_SEEN, replicas=1)

    async def stored(self, *users: str) -> dict[str, bytes]:
        await self.seen.write_due()
        return await self.values.get_many(users)

    async def writes(self) -> int:
        return (await JetStream(self.nats).info(stream_of_bucket(LAST_SEEN))).state.last_seq


async def test_a_user_who_comes_and_goes_is_written_once_a_minute_with_the_latest_time(nats: NATS) -> None:
    kept = BucketAndTimes(nats)
    await kept.make()
    for second in range(5):
        kept.seen.set_online("a")
        kept.seen.set_offline("a", AT + second, write=True)
        assert await kept.stored("a") == {"a": text(0).encode()}
        assert await kept.seen.read(["a"]) == {"a": text(second)}
    assert await kept.writes() == 1
    kept.now += PAUSE_SECONDS
    assert await kept.stored("a") == {"a": text(4).encode()}
    assert await kept.writes() == 2
    # Online again: the time that waits is out of date.
    kept.seen.set_offline("a", AT + 5, write=True)
    kept.seen.set_online("a")
    assert kept.seen.latest("a") is None
    kept.now += PAUSE_SECONDS
    assert await kept.stored("a") == {"a": text(4).encode()}


async def test_who_is_online_for_long_is_refreshed_by_the_gateway_where_they_are(nats: NATS) -> None:
    kept = BucketAndTimes(nats)
    await kept.make()
    kept.seen.keep("a")
    assert await kept.stored("a") == {}
    kept.now += REFRESH_SECONDS
    assert set(await kept.stored("a")) == {"a"}
    await kept.stored("a")
    assert await kept.writes() == 1
    kept.now += REFRESH_SECONDS
    kept.seen.release("a")
    await kept.stored("a")
    assert await kept.writes() == 1


async def test_another_gateway_reads_it_and_of_who_hides_nothing_is_left(nats: NATS) -> None:
    kept = BucketAndTimes(nats)
    await kept.make()
    kept.seen.set_offline("a", AT, write=True)
    kept.seen.set_offline("b", AT + 1, write=False)
    await kept.seen.write_due()
    assert await kept.seen.read(["a", "b", "c"]) == {"a": text(0), "b": text(1)}
    other = kept.gateway()
    assert await other.read(["a", "b", "c"]) == {"a": text(0)}
    other.hide("a", remove=False)
    kept.seen.hide("a", remove=True)
    assert await kept.stored("a") == {}
    assert await kept.seen.read(["a"]) == await other.read(["a"]) == {}


async def test_a_value_that_is_stored_while_its_user_hides_is_removed_by_the_gateway_that_stored_it(nats: NATS) -> None:
    kept = BucketAndTimes(nats)
    await kept.make()
    kept.seen.set_offline("a", AT, write=True)
    assert await kept.stored("a") == {"a": text(0).encode()}
    kept.seen.hide("a", remove=False)
    assert await kept.stored("a") == {}
    # The user hides, and another gateway removes the value, before this one is stored.
    kept.seen.set_offline("b", AT, write=True)
    kept.hidden.add("b")
    assert await kept.stored("b") == {}
    assert await kept.writes() == 4
    # What a gateway that has not read of it says later is not kept.
    kept.hidden.add("c")
    kept.seen.set_offline("c", AT, write=True)
    assert kept.seen.latest("c") is None
    await kept.seen.write_due()
    assert await kept.writes() == 4
    assert not kept.seen._waiting


async def test_while_the_bucket_is_away_times_wait_and_what_is_in_memory_is_answered(nats: NATS) -> None:
    kept = BucketAndTimes(nats)
    kept.seen.set_offline("a", AT, write=True)
    assert await kept.seen.read(["a", "b"]) == {"a": text(0)}
    await kept.seen.write_due()
    running = asyncio.create_task(kept.seen.run())
    async with asyncio.timeout(60):
        while not await _is_written(kept):
            await asyncio.sleep(0.05)
    # What waits is written at the end.
    kept.seen.set_offline("a", AT + 9, write=True)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert await kept.values.get_many(["a"]) == {"a": text(9).encode()}


async def _is_written(kept: BucketAndTimes) -> bool:
    try:
        return await kept.values.get_many(["a"]) == {"a": text(0).encode()}
    except Unavailable:
        return False
