"""A batch is filled and written in slices, beside other tasks and while the one before it is written."""

import asyncio
from collections.abc import Coroutine

import pytest
from nats.aio.client import Client

from contracts.positions import Position
from contracts.subjects import MESSAGING
from projections.engine.apply import loop_slices, pipeline
from projections.engine.apply.batch import Batch
from projections.engine.apply.build_writer import BuildWriter
from projections.engine.apply.pipeline import Pipeline
from projections.engine.apply.writing import batch_transaction
from projections.engine.reading.stream_sources import LIMIT, Sources
from projections.engine.storage.builds import Build, Connection
from tests.integration.projections.event_writer import PATIENCE, Writer, conversation_ids
from tests.integration.projections.sample_projection import POISON, Letters
from tests.integration.projections.stored_rows import COUNT, TEXTS, number, stored


@pytest.fixture
def short_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tasks run after each event, and after each part of the rows to copy."""
    monkeypatch.setattr(loop_slices, "SLICE_SECONDS", 0.0)
    monkeypatch.setattr(batch_transaction, "_ENCODED_TOGETHER", 10)


async def turns_during(work: Coroutine[None, None, None]) -> int:
    """Counts how often another task runs meanwhile."""
    turns = 0

    async def take_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(take_turns())
    try:
        await work
    finally:
        other.cancel()
    return turns


@pytest.mark.usefixtures("short_slices")
async def test_other_tasks_run_while_a_large_batch_is_merged_and_encoded(
    streams: Client, writer: Writer, conn: Connection, build: Build
) -> None:
    await writer.fill(conversation_ids(2), 300)
    messages = await stored(streams)
    one = await BuildWriter.open(conn, Letters, build)
    batch = one.batch()
    assert await turns_during(one.add_to_batch(batch, MESSAGING, messages, 600)) >= 600
    assert await turns_during(one.commit(batch)) >= 2 * 600 / 10
    assert (await number(conn, COUNT), await number(conn, TEXTS)) == (600, 600)


@pytest.mark.usefixtures("short_slices")
async def test_a_batch_whose_filling_was_cancelled_is_written_whole(
    streams: Client, writer: Writer, conn: Connection, build: Build
) -> None:
    await writer.fill(conversation_ids(2), 10)
    messages = await stored(streams)
    one = await BuildWriter.open(conn, Letters, build)
    batch = one.batch()
    await one.add_to_batch(batch, MESSAGING, messages[:5], 5)
    filling = asyncio.create_task(one.add_to_batch(batch, MESSAGING, messages[5:], 20))
    for _ in range(5):
        await asyncio.sleep(0)
    filling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await filling
    assert await number(conn, COUNT) == 0
    await one.commit(batch)
    assert (await number(conn, COUNT), await number(conn, TEXTS)) == (20, 20)
    assert one.position.sequence(MESSAGING) == 20


@pytest.mark.usefixtures("short_slices")
@pytest.mark.parametrize("poison", [POISON, "poison for the table"])
async def test_an_aggregate_that_fails_while_the_next_batch_is_filled_waits(
    streams: Client, writer: Writer, conn: Connection, build: Build, poison: str
) -> None:
    bad, good = conversation_ids(2)
    await writer.say(bad, poison)
    await writer.fill([good], 300)
    last = await writer.say(bad, "waits")
    messages = await stored(streams)
    one = await BuildWriter.open(conn, Letters, build)
    earlier, later = one.batch(), one.batch()
    await one.add_to_batch(earlier, MESSAGING, messages[:1], 1)
    writing = asyncio.create_task(one.commit(earlier))
    await one.add_to_batch(later, MESSAGING, messages[1:], last)
    await writing
    await one.commit(later)
    assert await number(conn, COUNT) == 300
    cursor = await conn.execute("SELECT sequence, state FROM projection_dead_letters ORDER BY sequence")
    assert await cursor.fetchall() == [(1, "failed"), (last, "parked")]


async def test_a_slow_database_makes_batches_larger_but_never_without_bound(
    streams: Client, writer: Writer, conn: Connection, build: Build, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "_EVENTS", 500)
    conversations = conversation_ids(4)
    end = await writer.fill(conversations, 1_000)
    one = await BuildWriter.open(conn, Letters, build)
    line = Pipeline(Sources(streams, Letters.filters(), one.position, name="test", limit=100), one)
    sizes: list[int] = []
    commit = BuildWriter.commit

    async def slowly(of: BuildWriter, batch: Batch) -> None:
        # Until the next batch is full, or has the last events.
        async with asyncio.timeout(PATIENCE):
            while not line._is_full() and sum(sizes) + batch.events + line._next.events < end:
                await asyncio.sleep(0.001)
        await commit(of, batch)

    monkeypatch.setattr(BuildWriter, "commit", slowly)
    async with line:
        while not line.at_end:
            batch = await line.step()
            assert batch is not None
            sizes.append(batch.events)
    assert sum(sizes) == end == await number(conn, TEXTS)
    assert 500 <= max(sizes) <= 500 + 100
    assert LIMIT <= pipeline._BACKLOG


async def test_a_pipeline_that_is_cancelled_twice_leaves_nothing_running(
    streams: Client, writer: Writer, conn: Connection, build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    await writer.fill(conversation_ids(1), 3)
    before = asyncio.all_tasks()
    opened = await BuildWriter.open(conn, Letters, build)
    writing = asyncio.Event()

    async def slow(batch: Batch) -> None:
        writing.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(opened, "commit", slow)

    async def apply() -> None:
        async with Pipeline(Sources(streams, Letters.filters(), Position(), name="twice"), opened) as running:
            await running.step()

    applying = asyncio.create_task(apply())
    await asyncio.wait_for(writing.wait(), 60)
    applying.cancel()
    await asyncio.sleep(0)
    applying.cancel()
    await asyncio.wait([applying], timeout=60)
    assert applying.cancelled()
    # The client's own tasks come to their ends by themselves, or go on with the connection.
    names = [str(task.get_coro()) for task in asyncio.all_tasks() - before]
    assert [name for name in names if "Subscription" not in name] == []
