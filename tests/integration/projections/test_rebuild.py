"""A read model is rebuilt while it is read and written, without an effect on readers."""

import asyncio
import itertools
import time
from contextlib import suppress
from functools import partial

import msgspec
import pytest
from nats.aio.client import Client

from contracts.envelope import Recorded
from contracts.events.message import MessageSent
from contracts.positions import Position
from contracts.subjects import MESSAGING
from projections.engine import ReadModel, RowChanges, handles
from projections.engine.apply import pipeline
from projections.engine.inspection.verify import verify
from projections.engine.reading.stream_sources import Sources
from projections.engine.rebuild import catch_up
from projections.engine.rebuild.cutover import start_build
from projections.engine.rebuild.progress import Progress
from projections.engine.rebuild.rebuild import RebuildUnderWay, rebuild
from projections.engine.storage.builds import BuildState
from projections.engine.storage.connections import connect
from projections.engine.storage.schema import ensure_schema
from projections.engine.storage.tables import BadTables
from tests.fix_postgres import Pool
from tests.integration.projections.event_writer import PATIENCE, Opened, Writer, conversation_ids
from tests.integration.projections.sample_projection import Letters

BUILDS = "SELECT build, state FROM projection_builds ORDER BY build"


class Count(msgspec.Struct):
    messages: int


async def test_reads_and_read_your_own_writes_hold_during_rebuilds(
    streams: Client, writer: Writer, run: Opened, pool: Pool, database_url: str
) -> None:
    runners = await run(Letters)
    model = ReadModel(Letters, pool, runners.waiting)
    conversations = conversation_ids(4)
    written = 200
    await model.wait_for(Position.at(MESSAGING, await writer.fill(conversations, 50)), PATIENCE)
    stop = asyncio.Event()

    async def write_and_read() -> int:
        nonlocal written
        while not stop.is_set():
            last = await writer.say(conversations[written % 4], "text")
            written += 1
            await model.wait_for(Position.at(MESSAGING, last))
            rows, position = await model.select(Count, "SELECT sum(messages)::bigint AS messages FROM {letters}")
            assert rows == [Count(written)]
            assert position.sequence(MESSAGING) == last
        return written

    async def read() -> int:
        reads, least = 0, 0
        while not stop.is_set():
            rows, position = await model.select(Count, "SELECT sum(messages)::bigint AS messages FROM {letters}")
            # Every event of the stream is a message: rows and position come from one snapshot.
            assert rows[0].messages == position.sequence(MESSAGING) >= least
            least = rows[0].messages
            reads += 1
        return reads

    others = [asyncio.create_task(write_and_read()), asyncio.create_task(read()), asyncio.create_task(read())]
    builds = [(await rebuild(Letters, streams, database_url)).build for _ in range(3)]
    stop.set()
    await asyncio.gather(*others)
    assert builds == [2, 3, 4]
    async with pool.connection() as conn:
        assert await (await conn.execute(BUILDS)).fetchall() == [(3, "retired"), (4, "live")]
    assert (await verify(Letters, streams, database_url)).equal


async def test_a_first_build_goes_live_with_all_that_there_was(
    streams: Client, writer: Writer, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What a live build would still have to be waited for at is a whole backlog here.
    monkeypatch.setattr(pipeline, "_NEAR", 10_000)
    monkeypatch.setattr(pipeline, "_EVENTS", 100)
    monkeypatch.setattr(catch_up, "Sources", partial(Sources, limit=100))
    monkeypatch.setattr(catch_up, "_PAUSE_SECONDS", (0.0, 1.0))
    last = await writer.fill(conversation_ids(4), 500)
    rebuilt = await rebuild(Letters, streams, database_url)
    assert (rebuilt.replaced, rebuilt.events) == (None, 2_000)
    assert rebuilt.position == {MESSAGING: last}


async def test_a_rebuild_with_a_rate_applies_no_more_events_a_second_and_says_so(
    streams: Client, writer: Writer, run: Opened, database_url: str
) -> None:
    runners = await run(Letters)
    last = await writer.fill(conversation_ids(4), 500)
    await runners.waiting.wait(Letters, Position.at(MESSAGING, last), PATIENCE)
    progress: list[Progress] = []
    begun = time.monotonic()
    rebuilt = await rebuild(Letters, streams, database_url, progress.append, most_per_second=400)
    # The last 500 events are no backlog, for which nobody has to wait.
    assert time.monotonic() - begun >= (2_000 - 500 - 400) / 400
    assert rebuilt.events == 2_000
    assert progress[0].most_per_second == 400
    assert all(after.events - before.events <= 800 for before, after in itertools.pairwise(progress))
    assert (await verify(Letters, streams, database_url)).equal


async def test_an_interrupted_rebuild_is_taken_up_where_it_stopped(
    streams: Client, writer: Writer, run: Opened, pool: Pool, database_url: str
) -> None:
    runners = await run(Letters)
    last = await writer.fill(conversation_ids(13), 500)
    await runners.waiting.wait(Letters, Position.at(MESSAGING, last), PATIENCE)

    def stop(progress: Progress) -> None:
        raise KeyboardInterrupt

    with suppress(KeyboardInterrupt):
        await rebuild(Letters, streams, database_url, stop)
    rebuilt = await rebuild(Letters, streams, database_url)
    assert rebuilt.build == 2
    assert rebuilt.events < last
    assert (await verify(Letters, streams, database_url)).equal


async def test_progress_ends_with_every_event(streams: Client, writer: Writer, run: Opened, database_url: str) -> None:
    runners = await run(Letters)
    last = await writer.fill(conversation_ids(2), 300)
    await runners.waiting.wait(Letters, Position.at(MESSAGING, last), PATIENCE)
    reports: list[Progress] = []
    await rebuild(Letters, streams, database_url, reports.append)
    assert (reports[-1].events, reports[-1].total) == (600, 600)


async def test_without_services_the_first_build_is_made(
    streams: Client, writer: Writer, pool: Pool, database_url: str
) -> None:
    await writer.fill(conversation_ids(1), 3)
    assert (await rebuild(Letters, streams, database_url)).events == 3
    assert (await verify(Letters, streams, database_url)).equal


async def test_two_rebuilds_of_one_read_model_exclude_each_other(
    streams: Client, writer: Writer, run: Opened, database_url: str
) -> None:
    runners = await run(Letters)
    last = await writer.fill(conversation_ids(2), 500)
    await runners.waiting.wait(Letters, Position.at(MESSAGING, last), PATIENCE)
    results = await asyncio.gather(*(rebuild(Letters, streams, database_url) for _ in range(2)), return_exceptions=True)
    assert [type(result) for result in results].count(RebuildUnderWay) == 1


async def test_changed_columns_need_a_raised_version(
    streams: Client, writer: Writer, run: Opened, database_url: str
) -> None:
    runners = await run(Letters)
    last = await writer.fill(conversation_ids(1), 1)
    await runners.waiting.wait(Letters, Position.at(MESSAGING, last), PATIENCE)

    class Changed(Letters):
        name = "letters"
        tables = Letters.tables.replace("messages bigint NOT NULL DEFAULT 0,", "messages integer,")

    with pytest.raises(BadTables, match="raise its version"):
        await rebuild(Changed, streams, database_url)
    # The refused build is no unfinished one, to be taken up with the columns that were refused.
    assert (await rebuild(Letters, streams, database_url)).events == 1


class Fewer(Letters):
    name = "letters"
    tables = """
        CREATE TABLE {letters} (
            conversation_id uuid PRIMARY KEY, messages bigint NOT NULL DEFAULT 0, last_text text,
            last_sequence bigint, seen bigint
        )
    """

    @handles(MessageSent)
    def sent(self, event: Recorded[MessageSent], write: RowChanges) -> None:
        write.upsert("letters", key={"conversation_id": event.aggregate_id}, add={"messages": 1})


async def test_a_table_that_todays_code_has_no_more_is_dropped_with_its_build(
    streams: Client, writer: Writer, pool: Pool, database_url: str
) -> None:
    await writer.fill(conversation_ids(1), 1)
    await rebuild(Letters, streams, database_url)
    for _ in range(2):
        await rebuild(Fewer, streams, database_url)
    async with pool.connection() as conn:
        cursor = await conn.execute(
            "SELECT relname FROM pg_class WHERE relname LIKE 'letters%' AND relkind IN ('r', 'v') ORDER BY 1"
        )
        assert await cursor.fetchall() == [("letters_v1",), ("letters_v1_b2",), ("letters_v1_b3",)]


async def test_builds_begun_at_the_same_moment_get_numbers_of_their_own(database_url: str) -> None:
    connections = [await connect(database_url, f"builder {number}") for number in range(4)]
    try:
        await ensure_schema(connections[0])
        states = (BuildState.BUILDING, BuildState.SHADOW, BuildState.SHADOW, BuildState.SHADOW)
        begun = zip(connections, states, strict=True)
        made = await asyncio.gather(*(start_build(conn, Letters, state) for conn, state in begun))
        assert sorted(build.build for build in made) == [1, 2, 3, 4]
    finally:
        for conn in connections:
            await conn.close()
