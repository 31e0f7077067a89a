"""Back to the build that was live before, and forward again, while everybody reads and writes."""

import asyncio

import msgspec
import pytest
from nats.aio.client import Client

from contracts.positions import Position
from contracts.subjects import MESSAGING
from projections.engine import ReadModel
from projections.engine.inspection.verify import verify
from projections.engine.rebuild.rebuild import NothingKept, rebuild
from tests.fix_postgres import Pool
from tests.integration.projections.event_writer import PATIENCE, Opened, Writer, conversation_ids
from tests.integration.projections.sample_projection import Letters

BUILDS = "SELECT build, state FROM projection_builds ORDER BY build"


class Count(msgspec.Struct):
    messages: int


async def test_reads_and_own_writes_hold_on_the_way_back_and_forward(
    streams: Client, writer: Writer, run: Opened, pool: Pool, database_url: str
) -> None:
    runners = await run(Letters)
    model = ReadModel(Letters, pool, runners.waiting)
    conversation = conversation_ids(1)[0]
    written = 300
    await model.wait_for(Position.at(MESSAGING, await writer.fill([conversation], written)), PATIENCE)
    await rebuild(Letters, streams, database_url)
    stop = asyncio.Event()

    async def write_and_read() -> None:
        nonlocal written
        while not stop.is_set():
            last = await writer.say(conversation, "text")
            written += 1
            await model.wait_for(Position.at(MESSAGING, last))
            rows, position = await model.select(Count, "SELECT sum(messages)::bigint AS messages FROM {letters}")
            assert (rows, position.sequence(MESSAGING)) == ([Count(written)], last)

    at_work = asyncio.create_task(write_and_read())
    for live, before in ((1, 2), (2, 1), (1, 2)):
        done = await rebuild(Letters, streams, database_url, back=True)
        assert (done.build, done.replaced) == (live, before)
    stop.set()
    await at_work
    assert (await verify(Letters, streams, database_url)).equal


async def test_the_build_before_is_brought_up_to_date_before_it_is_shown(
    streams: Client, writer: Writer, run: Opened, pool: Pool, database_url: str
) -> None:
    runners = await run(Letters)
    conversation = conversation_ids(1)[0]
    await runners.waiting.wait(Letters, Position.at(MESSAGING, await writer.fill([conversation], 3)), PATIENCE)
    await rebuild(Letters, streams, database_url)
    last = await writer.fill([conversation], 5)
    await runners.waiting.wait(Letters, Position.at(MESSAGING, last), PATIENCE)
    done = await rebuild(Letters, streams, database_url, back=True)
    assert (done.events, done.position) == (5, {MESSAGING: last})


async def test_where_no_build_is_kept_there_is_no_way_back(
    streams: Client, writer: Writer, run: Opened, database_url: str
) -> None:
    runners = await run(Letters)
    await runners.waiting.wait(Letters, Position.at(MESSAGING, await writer.fill(conversation_ids(1), 1)), PATIENCE)
    with pytest.raises(NothingKept, match="no previous build of letters version 1"):
        await rebuild(Letters, streams, database_url, back=True)


async def test_the_next_rebuild_keeps_the_build_that_it_replaces(
    streams: Client, writer: Writer, run: Opened, pool: Pool, database_url: str
) -> None:
    runners = await run(Letters)
    await runners.waiting.wait(Letters, Position.at(MESSAGING, await writer.fill(conversation_ids(1), 1)), PATIENCE)
    await rebuild(Letters, streams, database_url)
    await rebuild(Letters, streams, database_url, back=True)
    await rebuild(Letters, streams, database_url)
    async with pool.connection() as conn:
        # Build 2 is younger than build 1, but it is build 1 that was live last.
        assert await (await conn.execute(BUILDS)).fetchall() == [(1, "retired"), (3, "live")]
