"""A paused projection stays where it is, in every replica and across restarts, and harms nothing beside it."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import msgspec
import pytest
from nats.aio.client import Client
from prometheus_client import REGISTRY

from contracts.errors import ReadModelBehind
from contracts.positions import Position
from contracts.subjects import MESSAGING
from infra.embedded.nats_server import NatsServer
from projections.engine import Projection, ReadModel, Runners
from projections.engine.apply.build_writer import BuildWriter
from projections.engine.controls.pause import AlreadyPaused, NotPaused, Paused, pause, resume
from projections.engine.inspection.verify import verify
from projections.engine.rebuild.progress import Progress
from projections.engine.rebuild.rebuild import RebuildUnderWay, rebuild
from projections.engine.running import runner
from projections.engine.status.status import ProjectionStatus, projection_statuses, stream_status
from projections.engine.storage.builds import Connection
from projections.engine.storage.connections import connect
from projections.engine.storage.schema import ensure_schema
from tests.fix_postgres import Pool
from tests.integration.projections.event_writer import PATIENCE, Opened, Writer, conversation_ids, until_ready
from tests.integration.projections.sample_folds import Tallies
from tests.integration.projections.sample_projection import Letters
from tests.integration.projections.test_failing_projections import Raising

LABELS = {"projection": "letters", "version": "1"}


class Count(msgspec.Struct):
    messages: int


@asynccontextmanager
async def operator(database_url: str) -> AsyncIterator[Connection]:
    conn = await connect(database_url, "a test")
    try:
        await ensure_schema(conn)
        yield conn
    finally:
        await conn.close()


async def paused(database_url: str, projection: type[Projection] = Letters, by: str = "anna") -> Paused:
    async with operator(database_url) as conn:
        return await pause(conn, projection, reason="a test", by=by)


async def resumed(database_url: str, projection: type[Projection] = Letters) -> None:
    async with operator(database_url) as conn:
        await resume(conn, projection)


async def status_of(projection: type[Projection], database_url: str, nc: Client) -> list[ProjectionStatus]:
    async with operator(database_url) as conn:
        return await projection_statuses([projection], conn, nc, [await stream_status(nc, MESSAGING)])


async def rows_of(model: ReadModel) -> tuple[int, int]:
    """The number of messages that the rows count, and the position."""
    rows, position = await model.select(Count, "SELECT coalesce(sum(messages), 0)::bigint AS messages FROM {letters}")
    return rows[0].messages, position.sequence(MESSAGING)


async def test_nothing_is_applied_after_the_pause_and_everything_after_its_end(
    streams: Client, writer: Writer, run: Opened, pool: Pool, database_url: str
) -> None:
    # One of the two applies, the other one would take over.
    runners = [await run(Letters), await run(Letters)]
    model = ReadModel(Letters, pool, runners[0].waiting)
    (conversation,) = conversation_ids(1)
    await model.wait_for(Position.at(MESSAGING, await writer.say(conversation, "a", "b")), PATIENCE)
    stop = asyncio.Event()

    async def write() -> None:
        while not stop.is_set():
            await writer.say(conversation, "text")

    writing = asyncio.create_task(write())
    done = await paused(database_url)
    before = await rows_of(model)
    assert before == (done.position[MESSAGING], done.position[MESSAGING])
    await until_paused(runners[0], runners[1])
    stop.set()
    await writing
    last = await writer.say(conversation, "the last one")
    with pytest.raises(ReadModelBehind):
        await model.wait_for(Position.at(MESSAGING, last), 0.2)
    assert await rows_of(model) == before
    (status,) = await status_of(Letters, database_url, streams)
    assert (status.state, status.position) == ("paused", done.position)
    assert status.lag == last - before[1]
    assert status.pause is not None
    assert (status.pause.paused_by, status.pause.reason) == ("anna", "a test")
    await resumed(database_url)
    await model.wait_for(Position.at(MESSAGING, last), PATIENCE)
    assert await rows_of(model) == (last, last)
    assert (await verify(Letters, streams, database_url)).equal


async def test_of_two_operators_one_pauses_and_one_resumes(run: Opened, database_url: str) -> None:
    await until_ready(await run(Letters))
    both = await asyncio.gather(
        paused(database_url, by="anna"), paused(database_url, by="bert"), return_exceptions=True
    )
    (refused,) = [outcome for outcome in both if isinstance(outcome, AlreadyPaused)]
    (done,) = [outcome for outcome in both if isinstance(outcome, Paused)]
    assert f"by {done.pause.paused_by}" in str(refused)
    ends = await asyncio.gather(resumed(database_url), resumed(database_url), return_exceptions=True)
    assert {type(end) for end in ends} == {NotPaused, type(None)}


async def test_a_rebuild_replaces_a_paused_build_which_then_stays_where_it_is(
    streams: Client, writer: Writer, run: Opened, pool: Pool, database_url: str
) -> None:
    runners = await run(Letters)
    model = ReadModel(Letters, pool, runners.waiting)
    (conversation,) = conversation_ids(1)
    await model.wait_for(Position.at(MESSAGING, await writer.say(conversation, "a")), PATIENCE)
    await paused(database_url)
    last = await writer.say(conversation, "b")
    rebuilt = await rebuild(Letters, streams, database_url)
    assert rebuilt.position == {MESSAGING: last}
    assert await rows_of(model) == (2, last)
    later = await writer.say(conversation, "c")
    with pytest.raises(ReadModelBehind):
        await model.wait_for(Position.at(MESSAGING, later), 0.5)
    assert await rows_of(model) == (2, last)
    assert (await verify(Letters, streams, database_url)).equal
    await resumed(database_url)
    await model.wait_for(Position.at(MESSAGING, later), PATIENCE)
    assert await rows_of(model) == (3, later)


async def test_a_pause_does_not_stop_a_rebuild_that_is_under_way(
    streams: Client, writer: Writer, run: Opened, pool: Pool, database_url: str
) -> None:
    runners = await run(Letters)
    model = ReadModel(Letters, pool, runners.waiting)
    await model.wait_for(Position.at(MESSAGING, await writer.fill(conversation_ids(4), 500)), PATIENCE)
    pausing: list[asyncio.Task[Paused]] = []

    def begun(progress: Progress) -> None:
        if not pausing:
            pausing.append(asyncio.create_task(paused(database_url)))

    rebuilt = await rebuild(Letters, streams, database_url, begun)
    await pausing[0]
    (status,) = await status_of(Letters, database_url, streams)
    assert (status.state, status.build) == ("paused", rebuilt.build)
    later = await writer.say(conversation_ids(1)[0], "later")
    with pytest.raises(ReadModelBehind):
        await model.wait_for(Position.at(MESSAGING, later), 0.5)
    assert (await verify(Letters, streams, database_url)).equal


async def test_a_pause_holds_for_a_process_that_starts_and_for_one_that_was_killed(
    writer: Writer, run: Opened, database_url: str, nats_server: NatsServer, streams: Client
) -> None:
    program = [sys.executable, "-m", "tests.integration.projections.sample_folds", nats_server.url, database_url]
    (conversation,) = conversation_ids(1)
    first = await writer.say(conversation, "a")
    process = await asyncio.create_subprocess_exec(*program)
    try:
        await until_position(Tallies, first, database_url, streams)
        done = await paused(database_url, Tallies)
        assert done.position == {MESSAGING: first}
        last = await writer.say(conversation, "b")
    finally:
        process.send_signal(signal.SIGKILL)
        await process.wait()
    runners = await run(Tallies)
    await until_paused(runners)
    # A process that starts during a pause can serve what there is.
    assert runners.ready()
    (status,) = await status_of(Tallies, database_url, streams)
    assert (status.state, status.position, status.lag) == ("paused", {MESSAGING: first}, 1)
    await resumed(database_url, Tallies)
    assert runners.ready()
    await runners.waiting.wait(Tallies, Position.at(MESSAGING, last), PATIENCE)
    assert (await verify(Tallies, streams, database_url)).equal


async def test_a_first_build_and_a_failing_projection_can_be_paused_and_others_go_on(
    streams: Client, writer: Writer, run: Opened, database_url: str
) -> None:
    await paused(database_url)
    await paused(database_url, Raising)
    runners = await run(Letters, Raising, Tallies)
    last = await writer.say(conversation_ids(1)[0], "a")
    await runners.waiting.wait(Tallies, Position.at(MESSAGING, last), PATIENCE)
    await until_paused(runners, names=("letters", "raising"))
    await until_ready(runners)
    (status,) = await status_of(Letters, database_url, streams)
    assert (status.state, status.build, status.lag) == ("paused", 0, 1)
    with pytest.raises(RebuildUnderWay, match="by its service, which is paused"):
        await rebuild(Letters, streams, database_url)
    await resumed(database_url)
    await runners.waiting.wait(Letters, Position.at(MESSAGING, last), PATIENCE)


async def test_the_lag_of_a_paused_projection_grows_in_its_metrics(
    writer: Writer, run: Opened, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "_COUNT_SECONDS", 0.0)
    runners = await run(Letters)
    (conversation,) = conversation_ids(1)
    await runners.waiting.wait(Letters, Position.at(MESSAGING, await writer.say(conversation, "a")), PATIENCE)
    assert metric("paused") == 0
    await paused(database_url)
    await until_paused(runners)
    assert metric("paused") == 1
    await writer.say(conversation, "b", "c")
    async with asyncio.timeout(PATIENCE):
        while metric("lag_events", stream=MESSAGING) != 2:
            await asyncio.sleep(0.05)
    seconds = metric("lag_seconds", stream=MESSAGING)
    assert seconds is not None
    assert seconds > 0
    assert metric("last_checkpoint_timestamp_seconds") is None
    await resumed(database_url)
    async with asyncio.timeout(PATIENCE):
        while metric("paused") != 0 or metric("lag_events", stream=MESSAGING) != 0:
            await asyncio.sleep(0.05)


async def test_a_writer_that_does_not_know_of_the_pause_writes_nothing(
    writer: Writer, run: Opened, pool: Pool, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The batch is ready when the pause is committed."""
    reached, go_on = asyncio.Event(), asyncio.Event()
    original = BuildWriter._commit

    async def delayed(self: BuildWriter, *arguments: object) -> None:
        reached.set()
        await go_on.wait()
        await original(self, *arguments)  # type: ignore[arg-type]

    runners = await run(Letters)
    model = ReadModel(Letters, pool, runners.waiting)
    first = await writer.say(conversation_ids(1)[0], "a")
    await model.wait_for(Position.at(MESSAGING, first), PATIENCE)
    monkeypatch.setattr(BuildWriter, "_commit", delayed)
    await writer.say(conversation_ids(1)[0], "b")
    async with asyncio.timeout(PATIENCE):
        await reached.wait()
    await paused(database_url)
    go_on.set()
    await until_paused(runners)
    assert await rows_of(model) == (1, first)


async def until_paused(*runners: Runners, names: Sequence[str] = ()) -> None:
    """Waits until every replica has noticed. `names`: of the paused ones; none: all."""
    async with asyncio.timeout(PATIENCE):
        for of_process in runners:
            for name, projection_runner in of_process._runners.items():
                while not projection_runner.paused and (not names or name in names):
                    await asyncio.sleep(0.02)


def metric(name: str, **more: str) -> float | None:
    return REGISTRY.get_sample_value(f"vestnik_projection_{name}", {**LABELS, **more})


async def until_position(projection: type[Projection], last: int, database_url: str, streams: Client) -> None:
    async with asyncio.timeout(PATIENCE):
        while True:
            statuses = await status_of(projection, database_url, streams)
            if [(status.state, status.position) for status in statuses] == [("live", {MESSAGING: last})]:
                return
            await asyncio.sleep(0.1)
