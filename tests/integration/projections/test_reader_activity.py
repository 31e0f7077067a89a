"""A build detects readers, and then reads or writes, but not both at the same time."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from nats.aio.client import Client

from contracts.positions import Position
from contracts.subjects import MESSAGING
from projections.engine.apply import pipeline
from projections.engine.apply.batch import Batch
from projections.engine.apply.build_writer import BuildWriter
from projections.engine.apply.pipeline import Pipeline
from projections.engine.reading.stream_sources import Sources
from projections.engine.rebuild import catch_up, reader_activity
from projections.engine.rebuild.cutover import start_build
from projections.engine.rebuild.rebuild import rebuild
from projections.engine.storage.builds import Connection
from projections.engine.storage.connections import connect
from projections.engine.storage.schema import ensure_schema
from tests.fix_postgres import Pool
from tests.integration.projections.event_writer import Writer, conversation_ids
from tests.integration.projections.sample_projection import Letters

PATIENCE = 60


@pytest_asyncio.fixture
async def builder(database_url: str) -> AsyncIterator[Connection]:
    conn = await connect(database_url, "rebuild letters")
    yield conn
    await conn.close()


async def _until(conn: Connection, expected: bool) -> None:
    async with asyncio.timeout(PATIENCE):
        while await reader_activity.has_active_readers(conn) is not expected:
            pass


async def test_a_reader_is_noticed_for_a_moment(builder: Connection, pool: Pool) -> None:
    await _until(builder, False)

    async def read() -> None:
        while True:
            async with pool.connection() as conn:
                await conn.execute("SELECT")

    reading = asyncio.create_task(read())
    try:
        await _until(builder, True)
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
    await _until(builder, False)


async def test_who_applies_or_builds_is_no_reader(builder: Connection, database_url: str) -> None:
    await _until(builder, False)
    for name in ("projection letters", "switch letters", "shadow letters"):
        other = await connect(database_url, name)
        assert await reader_activity.has_active_readers(builder) is False
        await other.close()


@pytest.mark.parametrize("among_readers", [True, False])
async def test_a_pipeline_reads_and_writes_at_once_or_one_after_the_other(
    streams: Client, writer: Writer, builder: Connection, monkeypatch: pytest.MonkeyPatch, among_readers: bool
) -> None:
    await writer.fill(conversation_ids(4), 250)
    await ensure_schema(builder)
    filling = await BuildWriter.open(builder, Letters, await start_build(builder, Letters))
    write = filling.commit
    async with Pipeline(Sources(streams, Letters.filters(), filling.position, name="test", limit=100), filling) as line:
        line.among_readers = among_readers
        read_meanwhile = []

        async def observed(batch: Batch) -> None:
            await write(batch)
            if not among_readers and not line.at_end and line._sources.left:
                async with asyncio.timeout(PATIENCE):
                    while not line._next.events:
                        await builder.execute("SELECT")
            read_meanwhile.append(line._next.events)

        monkeypatch.setattr(filling, "commit", observed)
        while not line.at_end:
            assert await line.step(PATIENCE) is not None
    assert any(read_meanwhile) is not among_readers
    assert filling.position == Position.at(MESSAGING, 1_000)


async def test_among_readers_batches_are_small_and_the_server_is_asked_for_little(
    streams: Client, writer: Writer, builder: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "_EVENTS_AMONG_READERS", 100)
    await writer.fill(conversation_ids(4), 250)
    await ensure_schema(builder)
    filling = await BuildWriter.open(builder, Letters, await start_build(builder, Letters))
    sizes = []
    async with Pipeline(Sources(streams, Letters.filters(), filling.position, name="test", limit=100), filling) as line:
        line.among_readers = True
        while filling.position.sequence(MESSAGING) < 500:
            batch = await line.step(PATIENCE)
            assert batch is not None
            sizes.append(batch.events)
        assert max(sizes) <= 100
        # Nobody reads any more.
        line.among_readers = False
        write = filling.commit

        async def slowly(batch: Batch) -> None:
            """Delays a write until the next batch has more than 100 events, or none is left."""
            await write(batch)
            async with asyncio.timeout(PATIENCE):
                while line._next.events <= 100 and line._sources.left:
                    await builder.execute("SELECT")

        monkeypatch.setattr(filling, "commit", slowly)
        while not line.at_end:
            batch = await line.step(PATIENCE)
            assert batch is not None
            sizes.append(batch.events)
    assert max(sizes) > 100
    assert sum(sizes) == 1_000


async def test_a_rebuild_among_readers_is_as_complete_as_any(
    streams: Client, writer: Writer, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = []

    async def always(conn: Connection) -> bool:
        looks.append(conn)
        return True

    monkeypatch.setattr(reader_activity, "has_active_readers", always)
    await writer.fill(conversation_ids(4), 250)
    assert (await rebuild(Letters, streams, database_url)).events == 1_000
    assert looks


@pytest.mark.parametrize("gains", [True, False])
async def test_a_rebuild_that_comes_no_nearer_to_the_end_makes_no_room_any_more(
    streams: Client, writer: Writer, database_url: str, monkeypatch: pytest.MonkeyPatch, gains: bool
) -> None:
    made_room = []

    async def always(conn: Connection) -> bool:
        return True

    step = Pipeline.step

    async def observed(line: Pipeline, timeout: float | None = None) -> Batch | None:
        made_room.append(line.among_readers)
        while True:
            batch = await step(line, timeout)
            # With no more than a sign of life it would seem to come no nearer.
            if line.at_end or (batch is not None and batch.events):
                return batch

    monkeypatch.setattr(reader_activity, "has_active_readers", always)
    monkeypatch.setattr(Pipeline, "step", observed)
    monkeypatch.setattr(pipeline, "_EVENTS_AMONG_READERS", 100)
    monkeypatch.setattr(catch_up, "_GAIN_SECONDS", 0.0)
    if not gains:
        monkeypatch.setattr(Pipeline, "left", 10_000)
    await writer.fill(conversation_ids(4), 1_000)
    assert (await rebuild(Letters, streams, database_url)).events == 4_000
    assert made_room[0]
    # The last steps are those of the switch, for which no room is made in any case.
    assert (sum(made_room) > 10) is gains
