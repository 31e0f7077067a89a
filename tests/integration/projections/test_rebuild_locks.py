"""A rebuild takes no lock that blocks readers, however long they read."""

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest
import pytest_asyncio
from nats.aio.client import Client

from contracts.positions import Position
from contracts.subjects import MESSAGING
from projections.engine.apply.batch import Batch
from projections.engine.apply.build_writer import BuildWriter
from projections.engine.inspection.verify import verify
from projections.engine.rebuild import catch_up
from projections.engine.rebuild.progress import Progress
from projections.engine.rebuild.rebuild import rebuild
from projections.engine.storage import builds
from tests.integration.projections.event_writer import Opened, Writer, conversation_ids
from tests.integration.projections.sample_projection import Letters
from tests.integration.projections.writer_lock import growing, held_up

# The server itself measures how long a lock is waited for, and refuses the reader that would wait longer. Ours are held
# for milliseconds; on a machine with much else to do a moment of the processor may be long in coming.
IMPATIENT = "SET lock_timeout = '1s'"
READ = "SELECT count(*) FROM letters_v1 JOIN letters_texts_v1 USING (conversation_id)"
WAITING = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'letters_v1'::regclass"

Reader = psycopg.AsyncConnection[tuple[object, ...]]


@pytest_asyncio.fixture
async def readers(database_url: str) -> AsyncIterator[list[Reader]]:
    opened = [await psycopg.AsyncConnection.connect(database_url, autocommit=True) for _ in range(3)]
    try:
        for reader in opened:
            await reader.execute(IMPATIENT)
        yield opened
    finally:
        for reader in opened:
            await reader.close()


async def filled(writer: Writer, run: Opened) -> None:
    runners = await run(Letters)
    last = await writer.fill(conversation_ids(4), 250)
    await runners.waiting.wait(Letters, Position.at(MESSAGING, last), 60)


async def test_a_reader_that_goes_on_for_long_neither_waits_nor_makes_others_wait(
    streams: Client, writer: Writer, run: Opened, readers: list[Reader], database_url: str
) -> None:
    await filled(writer, run)
    long, other, watching = readers
    waiting = asyncio.Event()

    def report(progress: Progress) -> None:
        if "a reader of its views to end" in (progress.waits_for or ""):
            waiting.set()

    async with long.transaction():
        await long.execute(READ)
        rebuilding = asyncio.create_task(rebuild(Letters, streams, database_url, report))
        async with asyncio.timeout(60):
            await waiting.wait()
        for _ in range(100):
            await other.execute(READ)
            # Nobody stands in the queue at all: not the rebuild either, behind which others would stand.
            assert await (await watching.execute(WAITING)).fetchone() == (0,)
        await long.execute(READ)
        assert not rebuilding.done()
    async with asyncio.timeout(60):
        assert (await rebuilding).build == 2


async def test_readers_of_moments_are_never_held_up(
    streams: Client, writer: Writer, run: Opened, readers: list[Reader], database_url: str
) -> None:
    await filled(writer, run)
    stop = asyncio.Event()

    async def read(reader: Reader) -> int:
        reads = 0
        while not stop.is_set():
            async with reader.transaction():
                await reader.execute(READ)
                await reader.execute(READ)
            reads += 1
        return reads

    reading = [asyncio.create_task(read(reader)) for reader in readers]
    for back in (False, False, True, True):
        await rebuild(Letters, streams, database_url, back=back)
    stop.set()
    assert min(await asyncio.gather(*reading)) > 0
    assert (await verify(Letters, streams, database_url)).equal


async def test_the_service_is_held_up_for_a_limited_time_however_fast_the_stream_grows(
    streams: Client, writer: Writer, run: Opened, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catch_up, "_HOLD_SECONDS", 0.5)
    monkeypatch.setattr(catch_up, "_EVENTS_AT_CUTOVER", 50)
    runners = await run(Letters)
    conversations = conversation_ids(3)
    last = await writer.fill(conversations, 100)
    await runners.waiting.wait(Letters, Position.at(MESSAGING, last), 60)
    commit, lock_build, slow, attempts = BuildWriter.commit, builds.lock_build, 0, 0

    async def locking(conn: builds.Connection, build: builds.Build) -> bool:
        """The first attempts meet a write that takes much longer than the live build may be locked."""
        nonlocal slow, attempts
        attempts += 1
        slow = attempts if attempts <= 2 else 0
        return await lock_build(conn, build)

    async def slowly(filling: BuildWriter, batch: Batch) -> None:
        nonlocal slow
        if slow and filling.build.state is builds.BuildState.BUILDING:
            slow = 0
            await asyncio.sleep(5)
        await commit(filling, batch)

    monkeypatch.setattr(builds, "lock_build", locking)
    monkeypatch.setattr(BuildWriter, "commit", slowly)
    async with growing(writer, conversations) as growth, held_up(database_url) as longest:
        async with asyncio.timeout(120):
            assert (await rebuild(Letters, streams, database_url)).build == 2
        assert attempts > 2
        assert longest() < 4.0
    await runners.waiting.wait(Letters, Position.at(MESSAGING, growth.last), 60)
    assert (await verify(Letters, streams, database_url)).equal


async def test_old_tables_in_use_are_dropped_later(
    streams: Client, writer: Writer, run: Opened, readers: list[Reader], database_url: str
) -> None:
    await filled(writer, run)
    long, other, _ = readers
    async with long.transaction():
        # Of the tables, as a verification does, not through the view.
        await long.execute("SELECT count(*) FROM letters_v1_b1")
        for build in (2, 3):
            assert (await rebuild(Letters, streams, database_url)).build == build
            await other.execute(READ)
        await long.execute("SELECT count(*) FROM letters_v1_b1")
    await rebuild(Letters, streams, database_url)
    cursor = await other.execute("SELECT build FROM projection_builds ORDER BY build")
    assert await cursor.fetchall() == [(3,), (4,)]
