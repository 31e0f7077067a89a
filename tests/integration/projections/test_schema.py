"""The first process migrates the engine's tables, beside older and newer programs."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from psycopg import errors

from contracts.errors import Unavailable
from projections.engine.rebuild.cutover import live_build, start_build
from projections.engine.storage import schema
from projections.engine.storage.builds import BuildState, Connection
from projections.engine.storage.connections import connect
from projections.engine.storage.schema import STEPS, Step, ensure_schema
from tests.integration.projections.sample_projection import Letters
from tests.integration.projections.stored_rows import rows

APPLIED = "SELECT version, title FROM projection_schema ORDER BY version"
NUMBERED = [(number, step.title) for number, step in enumerate(STEPS, start=1)]
FURTHER = Step("a column more", "ALTER TABLE projection_builds ADD COLUMN further bigint NOT NULL DEFAULT 7")
FURTHER_COLUMN = "SELECT further FROM projection_builds"


@pytest_asyncio.fixture
async def connections(database_url: str) -> AsyncIterator[list[Connection]]:
    opened = [await connect(database_url, f"process {number}") for number in range(5)]
    try:
        yield opened
    finally:
        for conn in opened:
            await conn.close()


async def test_processes_that_begin_at_once_take_each_step_once(connections: list[Connection]) -> None:
    await asyncio.gather(*map(ensure_schema, connections))
    assert await rows(connections[0], APPLIED) == NUMBERED


async def test_a_database_of_before_the_steps_were_counted_keeps_its_builds(connections: list[Connection]) -> None:
    conn = connections[0]
    await conn.execute(STEPS[0].statements.encode())
    await conn.execute("INSERT INTO projection_builds VALUES ('letters', 1, 1, 'live')")
    await ensure_schema(conn)
    assert await rows(conn, APPLIED) == NUMBERED
    live = await live_build(conn, Letters)
    assert live is not None
    assert live.build == 1


async def test_an_older_program_goes_on_with_a_schema_that_is_ahead_of_it(
    connections: list[Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    older, newer = connections[:2]
    with monkeypatch.context() as patched:
        patched.setattr(schema, "STEPS", (*STEPS, FURTHER))
        await ensure_schema(newer)
    await ensure_schema(older)
    await start_build(older, Letters, BuildState.BUILDING)
    assert await rows(newer, FURTHER_COLUMN) == [(7,)]


async def test_a_step_that_fails_leaves_nothing_of_itself(
    connections: list[Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    conn = connections[0]
    broken = Step("broken", "ALTER TABLE projection_builds ADD COLUMN further bigint; SELECT no_such_function()")
    with monkeypatch.context() as patched:
        patched.setattr(schema, "STEPS", (*STEPS, broken))
        with pytest.raises(errors.UndefinedFunction):
            await ensure_schema(conn)
    assert await rows(conn, APPLIED) == NUMBERED
    with pytest.raises(errors.UndefinedColumn):
        await rows(conn, FURTHER_COLUMN)


async def test_a_step_waits_for_a_long_reader_without_holding_up_others(
    connections: list[Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    changing, reading, other = connections[:3]
    await ensure_schema(changing)
    await start_build(changing, Letters, BuildState.BUILDING)
    monkeypatch.setattr(schema, "STEPS", (*STEPS, FURTHER))
    async with reading.transaction():
        await rows(reading, "SELECT * FROM projection_builds")
        change = asyncio.create_task(ensure_schema(changing))
        await other.execute("SET statement_timeout = '2s'")
        for _ in range(20):
            await rows(other, "SELECT * FROM projection_builds")
            await asyncio.wait([change], timeout=0.02)
        assert not change.done()
    async with asyncio.timeout(60):
        await change
    assert await rows(other, FURTHER_COLUMN) == [(7,)]


async def test_a_step_that_never_gets_its_turn_says_so(
    connections: list[Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    changing, reading = connections[:2]
    await ensure_schema(changing)
    monkeypatch.setattr(schema, "STEPS", (*STEPS, FURTHER))
    monkeypatch.setattr(schema, "_PATIENCE_SECONDS", 0.1)
    async with reading.transaction():
        await rows(reading, "SELECT * FROM projection_builds")
        with pytest.raises(Unavailable, match="in use"):
            await ensure_schema(changing)
