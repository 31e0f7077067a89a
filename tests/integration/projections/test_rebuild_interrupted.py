"""A rebuild is interrupted by whatever there is, and taken up again where it stopped."""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from nats.aio.client import Client
from psycopg import OperationalError
from psycopg.errors import ProgramLimitExceeded
from psycopg.pq import TransactionStatus

from contracts.errors import Unavailable
from contracts.positions import Position
from contracts.subjects import MESSAGING
from infra.embedded.nats_server import NatsServer
from infra.embedded.postgres_server import PostgresServer
from projections.conversations import Conversations
from projections.engine.apply import pipeline
from projections.engine.inspection.verify import verify
from projections.engine.rebuild import progress
from projections.engine.rebuild import rebuild as rebuild_module
from projections.engine.rebuild.progress import Progress
from projections.engine.rebuild.rebuild import rebuild
from projections.engine.status.status import ProjectionStatus, projection_statuses, stream_status
from projections.engine.storage import tables
from projections.engine.storage.builds import Build, Connection
from projections.engine.storage.connections import connect
from tests.fix_postgres import Pool
from tests.integration.projections.event_writer import Opened, Writer, conversation_ids
from tests.integration.projections.sample_projection import Letters

PATIENCE = 60
FAR = 2_000
EVENTS = 12_000


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small batches: a rebuild has many, and a test can interrupt it between two of them."""
    monkeypatch.setattr(pipeline, "_EVENTS", 1_000)


@pytest_asyncio.fixture
async def history(writer: Writer) -> int:
    """A stream of some batches; its last sequence."""
    return await writer.fill(conversation_ids(EVENTS // 500), 500)


@pytest_asyncio.fixture
async def own_postgres(tmp_path: Path) -> AsyncIterator[PostgresServer]:
    """A server that the test may kill."""
    tmp_path.chmod(0o755)
    server = PostgresServer(tmp_path / "postgres", settings={"shared_buffers": "64MB"})
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


class At:
    """Signals once when a rebuild has reached a given point."""

    def __init__(self, events: int) -> None:
        self._events = events
        self.reports: list[Progress] = []
        self.reached = asyncio.Event()

    def __call__(self, progress: Progress) -> None:
        self.reports.append(progress)
        if progress.events >= self._events:
            self.reached.set()


async def test_a_rebuild_survives_a_killed_database(
    streams: Client, history: int, own_postgres: PostgresServer
) -> None:
    at = At(FAR)
    rebuilding = asyncio.create_task(rebuild(Letters, streams, own_postgres.url, at))
    await asyncio.wait_for(at.reached.wait(), PATIENCE)
    own_postgres.kill()
    await own_postgres.start()
    done = await asyncio.wait_for(rebuilding, PATIENCE)
    assert (done.build, done.position) == (1, {MESSAGING: history})
    assert (await verify(Letters, streams, own_postgres.url)).equal


async def test_a_rebuild_survives_a_killed_stream_server(
    nats_server: NatsServer, streams: Client, history: int, database_url: str
) -> None:
    at = At(FAR)
    rebuilding = asyncio.create_task(rebuild(Letters, streams, database_url, at))
    await asyncio.wait_for(at.reached.wait(), PATIENCE)
    nats_server.kill()
    await nats_server.start()
    done = await asyncio.wait_for(rebuilding, PATIENCE)
    assert (done.build, done.position, done.events) == (1, {MESSAGING: history}, EVENTS)
    assert (await verify(Letters, streams, database_url)).equal


async def test_progress_goes_on_after_an_interruption(streams: Client, history: int, database_url: str) -> None:
    at = At(FAR)
    rebuilding = asyncio.create_task(rebuild(Letters, streams, database_url, at))
    await asyncio.wait_for(at.reached.wait(), PATIENCE)
    rebuilding.cancel()
    await asyncio.wait([rebuilding])
    status = await status_of(streams, database_url)
    assert status.state == "interrupted"
    assert status.progress is not None
    assert 0 < status.progress.fraction < 1
    assert status.progress.seconds_left is None
    again = At(0)
    done = await rebuild(Letters, streams, database_url, again)
    assert 0 < done.events < EVENTS
    assert again.reports[0].events > status.progress.events
    # What was read in the last second before the interruption may not have been counted.
    assert EVENTS - at.reports[-1].events <= again.reports[-1].total <= EVENTS


async def test_everybody_sees_how_far_a_rebuild_is(
    streams: Client, history: int, run: Opened, database_url: str
) -> None:
    runners = await run(Letters)
    await runners.waiting.wait(Letters, Position.at(MESSAGING, history), PATIENCE)
    at = At(1)
    rebuilding = asyncio.create_task(rebuild(Letters, streams, database_url, at))
    await asyncio.wait_for(at.reached.wait(), PATIENCE)
    seen = await statuses_of(streams, database_url)
    await rebuilding
    assert [status.state for status in seen] == ["live", "building"]
    building = seen[1]
    assert building.progress is not None
    assert (building.build, building.progress.total) == (2, EVENTS)
    assert 0 < building.progress.fraction <= 1
    assert building.events_per_second > 0
    assert seen[0].progress is None
    assert [status.state for status in await statuses_of(streams, database_url)] == ["live"]


async def statuses_of(streams: Client, database_url: str) -> list[ProjectionStatus]:
    conn = await connect(database_url, "status")
    try:
        return await projection_statuses([Letters], conn, streams, [await stream_status(streams, MESSAGING)])
    finally:
        await conn.close()


async def status_of(streams: Client, database_url: str) -> ProjectionStatus:
    (status,) = await statuses_of(streams, database_url)
    return status


async def test_a_build_that_other_code_has_begun_is_not_taken_up(
    streams: Client, history: int, pool: Pool, database_url: str
) -> None:
    class Changed(Letters):
        name = "letters"

        @classmethod
        def code(cls) -> str:
            return "what it was before"

    at = At(FAR)
    rebuilding = asyncio.create_task(rebuild(Changed, streams, database_url, at))
    await asyncio.wait_for(at.reached.wait(), PATIENCE)
    rebuilding.cancel()
    await asyncio.wait([rebuilding])
    done = await rebuild(Letters, streams, database_url)
    assert done.events == EVENTS
    async with pool.connection() as conn:
        cursor = await conn.execute("SELECT relname FROM pg_class WHERE relname LIKE 'letters%_b%' AND relkind = 'r'")
        assert len(await cursor.fetchall()) == 2


async def started(environment: Mapping[str, str], *arguments: str) -> Process:
    command = [sys.executable, "-m", "infra.cli.main", *arguments]
    return await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE, env=environment)


async def ended(process: Process) -> tuple[int | None, dict[str, Any], str]:
    output, errors = await asyncio.wait_for(process.communicate(), PATIENCE)
    return process.returncode, json.loads(output) if output else {}, errors.decode()


async def test_a_command_that_is_killed_or_interrupted_is_taken_up_by_the_same_command(
    nats_server: NatsServer, streams: Client, history: int, tmp_path: Path, pool: Pool, database_url: str
) -> None:
    environment = {
        **os.environ,
        "VESTNIK_NATS_URL": nats_server.url,
        "VESTNIK_DATABASE_URL": database_url,
        "VESTNIK_DATA_DIR": str(tmp_path),
    }
    at = At(FAR)
    rebuilding = asyncio.create_task(rebuild(Conversations, streams, database_url, at))
    await asyncio.wait_for(at.reached.wait(), PATIENCE)
    rebuilding.cancel()
    await asyncio.wait([rebuilding])
    for sign, code in ((signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)):
        # In the midst of a batch, so that it can neither end nor get further before the signal.
        async with pool.connection() as blocker, blocker.transaction():
            await blocker.execute("LOCK TABLE projection_checkpoints IN SHARE MODE")
            process = await started(environment, "rebuild", "conversations", "--json")
            await until(pool, "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted AND locktype = 'relation'")
            process.send_signal(sign)
            returncode, printed, errors = await ended(process)
            # Also when the server has no reason of its own to look whether the client is there.
            await until(pool, "SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name LIKE 'rebuild %'")
        assert (returncode, printed, errors.strip()) == (code, {}, ""), errors
    process = await started(environment, "rebuild", "conversations", "--json")
    returncode, printed, errors = await ended(process)
    assert returncode == 0, errors
    (rebuilt,) = printed["rebuilt"]
    assert (rebuilt["build"], rebuilt["position"][MESSAGING]) == (1, history)
    assert 0 < rebuilt["events"] < EVENTS
    assert printed["failed"] == []
    assert (await verify(Conversations, streams, database_url)).equal


async def until(pool: Pool, condition: str) -> None:
    async with pool.connection() as conn, asyncio.timeout(PATIENCE):
        while await (await conn.execute(condition.encode())).fetchone() != (True,):
            await asyncio.sleep(0.01)


async def test_a_kill_right_after_the_switch_leaves_no_progress_on_the_live_build(
    streams: Client, writer: Writer, pool: Pool, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await writer.fill(conversation_ids(1), 3)
    forget = progress.forget

    async def interrupted(conn: Connection, build: Build) -> None:
        if conn.info.transaction_status is not TransactionStatus.INTRANS:
            raise OperationalError("the connection is lost")
        await forget(conn, build)

    monkeypatch.setattr(progress, "forget", interrupted)
    await rebuild(Letters, streams, database_url)
    async with pool.connection() as conn:
        assert await (await conn.execute("SELECT count(*) FROM projection_progress")).fetchone() == (0,)


async def test_a_database_that_fails_once_is_tried_again_however_long_ago_the_last_event_was(
    streams: Client, writer: Writer, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await writer.fill(conversation_ids(1), 3)
    monkeypatch.setattr(rebuild_module, "_PATIENCE_SECONDS", 0.0)
    failures = iter([OperationalError("the server was restarted")])
    add_indexes = tables.add_indexes

    async def failing(*about: Any) -> bool:  # noqa: ANN401 - passed on
        for failure in failures:
            raise failure
        return await add_indexes(*about)

    monkeypatch.setattr(tables, "add_indexes", failing)
    assert (await rebuild(Letters, streams, database_url)).events == 3


async def test_rows_that_go_into_no_index_end_the_command_at_once(
    streams: Client, writer: Writer, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await writer.fill(conversation_ids(1), 3)

    async def refused(*about: object) -> bool:
        raise ProgramLimitExceeded("index row size exceeds the maximum")

    monkeypatch.setattr(tables, "add_indexes", refused)
    with pytest.raises(Unavailable, match="index row size"):
        async with asyncio.timeout(PATIENCE):
            await rebuild(Letters, streams, database_url)
