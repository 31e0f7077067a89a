"""Waiting for a position: at once where it is reached, woken when it is, and never longer than asked for."""

import asyncio
import time

import pytest
from nats.aio.client import Client

from contracts.errors import ReadModelBehind
from contracts.positions import Position
from contracts.subjects import CONTACT, MESSAGING
from projections.engine import ReadModel, Waiting
from projections.engine.waiting import RECHECK_SECONDS
from tests.fix_postgres import Pool
from tests.integration.projections.letters import Letters
from tests.integration.projections.writing import Opened, Writer, conversation_ids


async def test_a_position_that_is_not_reached_in_time_says_so(run: Opened, writer: Writer, pool: Pool) -> None:
    runners = await run(Letters)
    model = ReadModel(Letters, pool, runners.waiting)
    last = await writer.say(conversation_ids(1)[0], "a")
    begun = time.monotonic()
    with pytest.raises(ReadModelBehind) as caught:
        await model.wait_for(Position.at(MESSAGING, last + 1), timeout=0.2)
    assert time.monotonic() - begun < 1
    assert caught.value.retry_after == 1


async def test_streams_that_the_projection_does_not_read_do_not_count(run: Opened, pool: Pool) -> None:
    runners = await run(Letters)
    await ReadModel(Letters, pool, runners.waiting).wait_for(Position.at(CONTACT, 1_000), timeout=0.2)


async def test_a_process_that_does_not_apply_is_woken_by_the_one_that_does(
    streams: Client, run: Opened, writer: Writer, pool: Pool
) -> None:
    await run(Letters)
    waiting = Waiting([Letters], streams, pool)
    await waiting.start()
    conversation = conversation_ids(1)[0]
    await waiting.wait(Letters, Position.at(MESSAGING, await writer.say(conversation, "first")))
    seconds: list[float] = []
    for _ in range(50):
        last = await writer.say(conversation, "text")
        begun = time.monotonic()
        await waiting.wait(Letters, Position.at(MESSAGING, last))
        seconds.append(time.monotonic() - begun)
    await waiting.stop()
    # Whoever is not woken waits for the re-check.
    assert sorted(seconds)[25] < RECHECK_SECONDS / 4


async def test_what_is_known_to_be_reached_needs_no_database(
    streams: Client, run: Opened, writer: Writer, pool: Pool
) -> None:
    runners = await run(Letters)
    last = await writer.say(conversation_ids(1)[0], "a")
    await runners.waiting.wait(Letters, Position.at(MESSAGING, last))
    await pool.close()
    await runners.waiting.wait(Letters, Position.at(MESSAGING, last), timeout=0.1)


async def test_many_waiters_are_all_woken(run: Opened, writer: Writer, pool: Pool) -> None:
    runners = await run(Letters)
    model = ReadModel(Letters, pool, runners.waiting)
    conversation = conversation_ids(1)[0]
    waiters = [asyncio.create_task(model.wait_for(Position.at(MESSAGING, place % 20 + 1))) for place in range(200)]
    await writer.say(conversation, *["text"] * 20)
    await asyncio.gather(*waiters)
