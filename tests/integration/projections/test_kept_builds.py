"""Kept builds are dropped on command, but none that is in use."""

import msgspec
import pytest
from nats.aio.client import Client

from contracts.errors import Unavailable
from contracts.positions import Position
from contracts.subjects import MESSAGING
from projections.engine import Projection, ReadModel
from projections.engine.rebuild import build_cleanup
from projections.engine.rebuild.build_cleanup import DroppedBuild, SkippedBuild, drop_unused_builds, known_projections
from projections.engine.rebuild.rebuild import rebuild
from projections.engine.status.status import projection_statuses, stream_status
from projections.engine.storage import connections, schema
from projections.engine.storage.builds import Connection
from projections.engine.storage.connections import connect
from tests.fix_postgres import Pool
from tests.integration.projections.event_writer import Opened, Writer, conversation_ids
from tests.integration.projections.sample_projection import Letters
from tests.integration.projections.stored_rows import fetched

BUILDS = "SELECT version, build, state FROM projection_builds ORDER BY version, build"
RELATIONS = "SELECT relname FROM pg_class WHERE relname LIKE 'letters%' AND relkind IN ('r', 'v') ORDER BY 1"


class Count(msgspec.Struct):
    messages: int


class Newer(Letters):
    name = "letters"
    version = 2


async def filled(writer: Writer, run: Opened, *projections: type[Projection]) -> None:
    last = await writer.fill(conversation_ids(1), 5)
    for projection in projections:
        runners = await run(projection)
        await runners.waiting.wait(projection, Position.at(MESSAGING, last), 60)


def builds(dropped: list[DroppedBuild]) -> list[tuple[int, int]]:
    return [(one.version, one.build) for one in dropped]


async def test_the_build_before_goes_and_the_live_one_stays(
    streams: Client, writer: Writer, run: Opened, pool: Pool, database_url: str
) -> None:
    await filled(writer, run, Letters)
    await rebuild(Letters, streams, database_url)
    dropped, in_use = await drop_unused_builds("letters", 1, database_url)
    assert (builds(dropped), in_use) == ([(1, 1)], [])
    assert dropped[0].bytes > 0
    assert await fetched(pool, BUILDS) == [(1, 2, "live")]
    assert await fetched(pool, RELATIONS) == [
        ("letters_texts_v1",), ("letters_texts_v1_b2",), ("letters_v1",), ("letters_v1_b2",),
    ]  # fmt: skip
    assert await drop_unused_builds("letters", 1, database_url) == ([], [])


async def test_a_version_that_a_service_runs_stays(writer: Writer, run: Opened, pool: Pool, database_url: str) -> None:
    await filled(writer, run, Letters, Newer)
    dropped, in_use = await drop_unused_builds("letters", 2, database_url)
    assert (dropped, in_use) == ([], [SkippedBuild("letters", 1, None, "a service runs it, or it is rebuilt")])
    assert await fetched(pool, BUILDS) == [(1, 1, "live"), (2, 1, "live")]


async def test_a_version_whose_service_is_gone_goes_with_its_views(
    writer: Writer, run: Opened, pool: Pool, database_url: str
) -> None:
    last = await writer.fill(conversation_ids(1), 5)
    old = await run(Letters)
    new = await run(Newer)
    for runners, projection in ((old, Letters), (new, Newer)):
        await runners.waiting.wait(projection, Position.at(MESSAGING, last), 60)
    await old.stop()
    dropped, in_use = await drop_unused_builds("letters", 2, database_url)
    assert (builds(dropped), in_use) == ([(1, 1)], [])
    assert await fetched(pool, RELATIONS) == [
        ("letters_texts_v2",), ("letters_texts_v2_b1",), ("letters_v2",), ("letters_v2_b1",),
    ]  # fmt: skip


async def test_a_dropped_version_that_is_deployed_again_is_rebuilt(
    writer: Writer, run: Opened, pool: Pool, database_url: str
) -> None:
    await filled(writer, run, Newer)
    old = await run(Letters)
    last = await writer.fill(conversation_ids(1), 5)
    await old.waiting.wait(Letters, Position.at(MESSAGING, last), 60)
    await old.stop()
    await drop_unused_builds("letters", 2, database_url)
    again = await run(Letters)
    await again.waiting.wait(Letters, Position.at(MESSAGING, last), 60)
    counts, _ = await ReadModel(Letters, pool, again.waiting).select(
        Count, "SELECT sum(messages)::bigint AS messages FROM {letters}"
    )
    assert counts == [Count(10)]


async def test_a_build_in_use_stays(
    streams: Client, writer: Writer, run: Opened, pool: Pool, database_url: str
) -> None:
    await filled(writer, run, Letters)
    async with pool.connection() as reader, reader.transaction():
        await reader.execute("SELECT * FROM letters_v1_b1")
        await rebuild(Letters, streams, database_url)
        assert await drop_unused_builds("letters", 1, database_url) == (
            [],
            [SkippedBuild("letters", 1, 1, "it is being read")],
        )
    dropped, _ = await drop_unused_builds("letters", 1, database_url)
    assert builds(dropped) == [(1, 1)]


async def test_what_has_gone_live_before_the_lock_was_taken_stays(
    streams: Client, writer: Writer, run: Opened, pool: Pool, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await filled(writer, run, Letters)
    await rebuild(Letters, streams, database_url)
    try_lock = connections.try_lock

    async def later(conn: Connection, lock: str) -> bool:
        await rebuild(Letters, streams, database_url, back=True)
        return await try_lock(conn, lock)

    monkeypatch.setattr(build_cleanup, "try_lock", later)
    dropped, in_use = await drop_unused_builds("letters", 1, database_url)
    assert (builds(dropped), in_use) == ([(1, 2)], [])
    assert await fetched(pool, BUILDS) == [(1, 1, "live")]


async def test_builds_of_a_projection_that_is_no_more_are_found_and_go(
    writer: Writer, run: Opened, pool: Pool, database_url: str
) -> None:
    last = await writer.fill(conversation_ids(1), 5)
    runners = await run(Letters)
    await runners.waiting.wait(Letters, Position.at(MESSAGING, last), 60)
    await runners.stop()
    assert await known_projections(database_url) == ["letters"]
    dropped, in_use = await drop_unused_builds("letters", None, database_url)
    assert (builds(dropped), in_use) == ([(1, 1)], [])
    assert await fetched(pool, RELATIONS) == []


async def test_the_status_tells_what_is_kept(streams: Client, writer: Writer, run: Opened, database_url: str) -> None:
    await filled(writer, run, Letters)
    conn = await connect(database_url, "status")
    try:
        ends = [await stream_status(streams, MESSAGING)]
        before = (await projection_statuses([Letters], conn, streams, ends))[0]
        await rebuild(Letters, streams, database_url)
        after = (await projection_statuses([Letters], conn, streams, ends))[0]
    finally:
        await conn.close()
    assert (before.build, before.kept_bytes) == (1, 0)
    assert (after.build, after.kept_bytes) == (2, before.bytes)
    assert before.bytes > 0


async def test_the_status_shows_an_older_version_for_as_long_as_a_service_runs_it(
    streams: Client, writer: Writer, run: Opened, pool: Pool, database_url: str
) -> None:
    last = await writer.fill(conversation_ids(1), 5)
    old, new = await run(Letters), await run(Newer)
    for runners, projection in ((old, Letters), (new, Newer)):
        await runners.waiting.wait(projection, Position.at(MESSAGING, last), 60)

    async def shown() -> list[tuple[int, str]]:
        conn = await connections.connect(database_url, "status")
        try:
            await conn.execute("UPDATE projection_checkpoints SET updated_at = now() - interval '1 hour'")
            statuses = await projection_statuses([Newer], conn, streams, [])
        finally:
            await conn.close()
        return [(status.version, status.state) for status in statuses]

    assert await shown() == [(1, "live"), (2, "live")]
    await old.stop()
    assert await shown() == [(2, "live")]


async def test_a_database_that_is_lost_while_builds_are_dropped_is_a_failure_that_says_so(
    writer: Writer, run: Opened, pool: Pool, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await filled(writer, run, Letters)
    ensure_schema = schema.ensure_schema

    async def killed(conn: Connection) -> None:
        await ensure_schema(conn)
        async with pool.connection() as admin:
            await admin.execute("SELECT pg_terminate_backend(%s)", (conn.info.backend_pid,))

    monkeypatch.setattr(build_cleanup, "ensure_schema", killed)
    with pytest.raises(Unavailable):
        await drop_unused_builds("letters", 1, database_url)
    with pytest.raises(Unavailable):
        await known_projections(database_url)
