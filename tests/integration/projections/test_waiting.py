"""Waiting for a position: no wait if it is reached, woken when it is, and never longer than requested."""

import asyncio
import time

import msgspec
import pytest
from nats.aio.client import Client
from prometheus_client import REGISTRY

from contracts.errors import ReadModelBehind
from contracts.positions import Position
from contracts.subjects import CONTACT, MESSAGING
from infra.embedded.nats_server import NatsServer
from projections.engine import PositionWaiter, ReadModel
from projections.engine.rebuild.rebuild import rebuild
from projections.engine.waiting import position_waiter as engine_waiting
from projections.engine.waiting.position_waiter import CheckpointNotice, subject_of
from tests.fix_postgres import Pool
from tests.integration.projections.event_writer import Opened, Writer, conversation_ids
from tests.integration.projections.sample_projection import Letters


async def test_a_position_that_is_not_reached_in_time_says_so(run: Opened, writer: Writer, pool: Pool) -> None:
    runners = await run(Letters)
    model = ReadModel(Letters, pool, runners.waiting)
    last = await writer.say(conversation_ids(1)[0], "a")
    begun = time.monotonic()
    with pytest.raises(ReadModelBehind) as caught:
        await model.wait_for(Position.at(MESSAGING, last + 1), timeout=0.2)
    # The default is five seconds.
    assert time.monotonic() - begun < 5
    assert caught.value.retry_after == 1


async def test_streams_that_the_projection_does_not_read_do_not_count(run: Opened, pool: Pool) -> None:
    runners = await run(Letters)
    await ReadModel(Letters, pool, runners.waiting).wait_for(Position.at(CONTACT, 1_000), timeout=0.2)


async def test_a_process_that_does_not_apply_is_woken_by_the_one_that_does(
    streams: Client, run: Opened, writer: Writer, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nobody asks the database meanwhile: whoever is not woken waits in vain.
    monkeypatch.setattr(engine_waiting, "_FIRST_CHECK_SECONDS", 600.0)
    await run(Letters)
    waiting = PositionWaiter([Letters], streams, pool)
    await waiting.start()
    conversation = conversation_ids(1)[0]
    for _ in range(50):
        await waiting.wait(Letters, Position.at(MESSAGING, await writer.say(conversation, "text")), 60)
    await waiting.stop()


async def test_what_is_known_to_be_reached_needs_no_database(
    streams: Client, run: Opened, writer: Writer, pool: Pool
) -> None:
    runners = await run(Letters)
    last = await writer.say(conversation_ids(1)[0], "a")
    await runners.waiting.wait(Letters, Position.at(MESSAGING, last), 60)
    await pool.close()
    await runners.waiting.wait(Letters, Position.at(MESSAGING, last), timeout=0.1)


async def test_many_waiters_are_all_woken(run: Opened, writer: Writer, pool: Pool) -> None:
    runners = await run(Letters)
    model = ReadModel(Letters, pool, runners.waiting)
    conversation = conversation_ids(1)[0]
    waiters = [asyncio.create_task(model.wait_for(Position.at(MESSAGING, index % 20 + 1), 60)) for index in range(200)]
    await writer.say(conversation, *["text"] * 20)
    await asyncio.gather(*waiters)


async def test_a_notice_that_is_lost_costs_a_moment_and_no_more(
    streams: Client, run: Opened, writer: Writer, pool: Pool
) -> None:
    await run(Letters)
    # Never started: it hears nothing.
    deaf = PositionWaiter([Letters], streams, pool)
    for text in ("a", "b"):
        last = await writer.say(conversation_ids(1)[0], text)
        await deaf.wait(Letters, Position.at(MESSAGING, last), timeout=60)
    await deaf.stop()


async def test_a_waiter_is_woken_by_the_new_build_after_a_rebuild(
    streams: Client, run: Opened, writer: Writer, pool: Pool, database_url: str
) -> None:
    await run(Letters)
    waiting = PositionWaiter([Letters], streams, pool)
    await waiting.start()
    conversation = conversation_ids(1)[0]
    last = await writer.say(conversation, "a")
    await waiting.wait(Letters, Position.at(MESSAGING, last), timeout=60)
    waiter = asyncio.create_task(waiting.wait(Letters, Position.at(MESSAGING, last + 1), timeout=60))
    await rebuild(Letters, streams, database_url)
    assert not waiter.done()
    await writer.say(conversation, "b")
    await waiter
    await waiting.stop()


async def test_a_waiter_is_woken_when_nats_is_back(
    nats_server: NatsServer, streams: Client, run: Opened, writer: Writer, pool: Pool
) -> None:
    await run(Letters)
    waiting = PositionWaiter([Letters], streams, pool)
    await waiting.start()
    conversation = conversation_ids(1)[0]
    last = await writer.say(conversation, "a")
    await waiting.wait(Letters, Position.at(MESSAGING, last), timeout=60)
    waiter = asyncio.create_task(waiting.wait(Letters, Position.at(MESSAGING, last + 1), timeout=60))
    nats_server.kill()
    await nats_server.wait()
    await nats_server.start()
    async with asyncio.timeout(60):
        while not streams.is_connected:
            await asyncio.sleep(0.02)
    await writer.say(conversation, "b")
    await waiter
    await waiting.stop()


async def test_without_a_database_waiting_ends_in_time(streams: Client) -> None:
    async with Pool(
        "postgresql://localhost:1/nowhere", min_size=0, max_size=1, open=False, reconnect_timeout=0.1
    ) as nowhere:
        waiting = PositionWaiter([Letters], streams, nowhere)
        await waiting.start()
        with pytest.raises(ReadModelBehind):
            await waiting.wait(Letters, Position.at(MESSAGING, 1), timeout=0.3)
        await waiting.stop()


async def test_thousands_of_waits_that_time_out_are_answered_and_forgotten(
    streams: Client, run: Opened, writer: Writer, pool: Pool
) -> None:
    runners = await run(Letters)
    conversation = conversation_ids(1)[0]
    far = Position({MESSAGING: 2**63 - 1, CONTACT: 5})
    timed_out = [asyncio.create_task(runners.waiting.wait(Letters, far, timeout=1.0)) for _ in range(3_000)]
    for _ in range(10):
        last = await writer.say(conversation, "text")
        await runners.waiting.wait(Letters, Position.at(MESSAGING, last), timeout=60)
    given_up = asyncio.create_task(runners.waiting.wait(Letters, far))
    await asyncio.sleep(0)
    given_up.cancel()
    answers = await asyncio.gather(*timed_out, given_up, return_exceptions=True)
    assert [type(answer) for answer in answers] == [ReadModelBehind] * 3_000 + [asyncio.CancelledError]
    assert runners.waiting.waiting(Letters) == 0


async def test_what_is_no_notice_wakes_nobody(streams: Client, run: Opened, writer: Writer, pool: Pool) -> None:
    runners = await run(Letters)
    for nonsense in (b"", b"nonsense", b'{"identity": 1}', b'{"identity": "", "sequences": {"MESSAGING": "9"}}'):
        await streams.publish(subject_of(Letters), nonsense)
    await runners.waiting.wait(Letters, Position.at(MESSAGING, await writer.say(conversation_ids(1)[0], "a")), 60)
    assert not runners.waiting.reached(Letters, Position.at(MESSAGING, 2))


async def test_the_word_of_a_build_that_is_gone_is_soon_set_right(run: Opened, writer: Writer) -> None:
    runners = await run(Letters)
    last = await writer.say(conversation_ids(1)[0], "a")
    await runners.waiting.wait(Letters, Position.at(MESSAGING, last), 60)
    runners.waiting.notify(Letters, CheckpointNotice("a build of long ago", {}))
    await runners.waiting.wait(Letters, Position.at(MESSAGING, last), timeout=60)


async def test_waiting_is_measured(run: Opened, writer: Writer) -> None:
    runners = await run(Letters)
    own = (Letters.name, str(Letters.version))

    def figures() -> list[float]:
        names = ("wait_duration_seconds_count", "waited_in_vain_total", "waiting")
        labels = dict(zip(("projection", "version"), own, strict=True))
        return [REGISTRY.get_sample_value(f"vestnik_projection_{name}", labels) or 0.0 for name in names]

    waited, in_vain, _ = figures()
    waiter = asyncio.create_task(runners.waiting.wait(Letters, Position.at(MESSAGING, 1), timeout=60))
    await asyncio.sleep(0)
    assert figures() == [waited, in_vain, 1]
    await writer.say(conversation_ids(1)[0], "a")
    await waiter
    with pytest.raises(ReadModelBehind):
        await runners.waiting.wait(Letters, Position.at(MESSAGING, 99), timeout=0.05)
    assert figures() == [waited + 1, in_vain + 1, 0]


class Count(msgspec.Struct, frozen=True):
    messages: int


async def test_a_database_that_has_gone_back_is_read_once_it_has_caught_up(
    run: Opened, writer: Writer, pool: Pool
) -> None:
    runners = await run(Letters)
    model = ReadModel(Letters, pool, runners.waiting)
    last = await writer.say(conversation_ids(1)[0], "a", "b")
    await model.wait_for(Position.at(MESSAGING, last), 60)
    await runners.stop()
    # As after a fail-over to a standby that lacks the last commit.
    async with pool.connection() as conn:
        await conn.execute("UPDATE projection_checkpoints SET sequence = sequence - 1")

    async def read() -> tuple[list[Count], Position]:
        await model.wait_for(Position.at(MESSAGING, last))
        return await model.select(Count, "SELECT messages FROM {letters}")

    reading = asyncio.create_task(read())
    async with asyncio.timeout(60):
        while not runners.waiting.waiting(Letters):
            assert not reading.done(), "read although the database lacks what was reached before"
            await asyncio.sleep(0.01)
    assert not runners.waiting.reached(Letters, Position.at(MESSAGING, last))
    async with pool.connection() as conn:
        await conn.execute("UPDATE projection_checkpoints SET sequence = sequence + 1")
    rows, position = await reading
    assert (rows, position.sequence(MESSAGING)) == ([Count(2)], last)
