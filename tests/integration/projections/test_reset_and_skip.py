"""A projection begins again in place, or passes over the event that it stops at; the others of its service go on."""

import asyncio
from pathlib import Path

import msgspec
import pytest
from nats.aio.client import Client

from contracts.envelope import Recorded
from contracts.errors import ReadModelBehind
from contracts.events.message import MessageSent
from contracts.positions import Position
from contracts.subjects import MESSAGING
from infra.embedded.nats_server import NatsServer
from projections.engine import Projection, ReadModel, folds
from projections.engine.controls.pause import pause
from projections.engine.controls.reset import NothingToReset, ReadersBusy, Reset, reset
from projections.engine.controls.skip import NotStopped, skip
from projections.engine.controls.waiting import WriterBusy
from projections.engine.dead_letters import discards
from projections.engine.dead_letters.discards import Discarded
from projections.engine.dead_letters.outcomes import AlreadyDiscarded
from projections.engine.inspection.verify import verify
from projections.engine.rebuild.build_cleanup import SkippedBuild, drop_unused_builds
from projections.engine.rebuild.rebuild import RebuildUnderWay, Rebuilt, rebuild
from projections.engine.running import last_errors
from projections.engine.storage import builds, lost_events
from projections.engine.storage.connections import rebuild_lock, try_lock
from projections.engine.storage.lost_events import EventsLost
from streams.jetstream.api import JetStream
from streams.log import Log
from streams.loss.missing_events import Gap, accept
from tests.damage import cut_the_end
from tests.fix_postgres import Pool
from tests.integration.projections.event_writer import PATIENCE, Opened, Writer, conversation_ids, until_ready
from tests.integration.projections.sample_projection import Letters
from tests.integration.projections.test_failing_projections import Refused, until_state
from tests.integration.projections.test_lost_events import damage
from tests.integration.projections.test_pauses import operator, paused, resumed, rows_of, status_of, until_paused

NOBODY = "nobody knows whose"


class Count(msgspec.Struct):
    messages: int


class Keyed(Projection):
    """Folds by a key that some events do not have."""

    streams = (MESSAGING,)
    tables = "CREATE TABLE {keyed} (sender_id uuid PRIMARY KEY, messages integer NOT NULL)"

    @folds(MessageSent, table="keyed", key=lambda event: {"sender_id": sender_of(event)})
    def said(self, row: Count | None, event: Recorded[MessageSent]) -> Count:
        return Count((row.messages if row else 0) + 1)


def sender_of(event: Recorded[MessageSent]) -> str:
    if event.data.text == NOBODY:
        raise LookupError(NOBODY)
    return event.data.sender_id


async def skipped(database_url: str, nc: Client, projection: type[Projection] = Keyed) -> Discarded:
    async with operator(database_url) as conn:
        return await skip(conn, nc, Log(nc), projection, reason="a test", by="anna")


async def builds_in(pool: Pool) -> list[tuple[object, ...]]:
    async with pool.connection() as conn:
        return await (await conn.execute("SELECT build, state FROM projection_builds ORDER BY build")).fetchall()


async def test_what_a_projection_stops_at_is_skipped_in_every_build_and_others_go_on(
    streams: Client, writer: Writer, run: Opened, pool: Pool, database_url: str
) -> None:
    (conversation,) = conversation_ids(1)
    first = await writer.say(conversation, "a", NOBODY)
    # Its first build stops; what stands beside it does not.
    runners = await run(Keyed, Letters)
    await runners.waiting.wait(Letters, Position.at(MESSAGING, first), PATIENCE)
    await until_ready(runners)
    await until_state(Keyed, "failed", pool, streams)
    both = await asyncio.gather(skipped(database_url, streams), skipped(database_url, streams), return_exceptions=True)
    (done,) = [outcome for outcome in both if isinstance(outcome, Discarded)]
    assert (done.sequence, done.type, done.discarded_by, done.reason) == (first, "message.sent", "anna", "a test")
    assert "LookupError: nobody knows whose" in done.error
    assert [type(outcome) for outcome in both if outcome is not done] in ([AlreadyDiscarded], [NotStopped])
    await runners.waiting.wait(Keyed, Position.at(MESSAGING, first), PATIENCE)

    # Its live build stops, too.
    second = await writer.say(conversation, NOBODY)
    last = await writer.say(conversation, "b")
    await runners.waiting.wait(Letters, Position.at(MESSAGING, last), PATIENCE)
    await until_state(Keyed, "failed", pool, streams)
    assert runners.ready()
    assert (await skipped(database_url, streams)).sequence == second
    await runners.waiting.wait(Keyed, Position.at(MESSAGING, last), PATIENCE)
    await until_state(Keyed, "live", pool, streams)
    assert [discard.sequence for discard in await discards.recorded(streams)] == [first, second]
    verdict = await verify(Keyed, streams, database_url)
    assert (verdict.equal, verdict.rows, verdict.discarded) == (True, 1, 2)
    await rebuild(Keyed, streams, database_url)
    model = ReadModel(Keyed, pool, runners.waiting)
    rows, _ = await model.select(Count, "SELECT messages FROM {keyed}")
    assert rows == [Count(2)]
    with pytest.raises(NotStopped, match="has not failed"):
        await skipped(database_url, streams)


async def test_what_fails_for_another_reason_has_no_event_to_skip(
    streams: Client, run: Opened, pool: Pool, database_url: str
) -> None:
    await run(Refused)
    await until_state(Refused, "failed", pool, streams)
    with pytest.raises(NotStopped, match='type "later" does not exist'):
        await skipped(database_url, streams, Refused)
    assert await discards.recorded(streams) == []


async def test_a_paused_projection_can_be_freed_of_the_event_that_it_stops_at(
    streams: Client, writer: Writer, run: Opened, pool: Pool, database_url: str
) -> None:
    runners = await run(Keyed)
    last = await writer.say(conversation_ids(1)[0], NOBODY, "a")
    await until_state(Keyed, "failed", pool, streams)
    await paused(database_url, Keyed)
    await skipped(database_url, streams)
    with pytest.raises(NotStopped, match="the one that it stopped at is passed over"):
        await skipped(database_url, streams)
    await resumed(database_url, Keyed)
    await runners.waiting.wait(Keyed, Position.at(MESSAGING, last), PATIENCE)


async def test_a_reset_begins_again_from_the_first_event_and_can_be_undone(
    streams: Client, writer: Writer, run: Opened, pool: Pool, database_url: str
) -> None:
    runners = [await run(Letters), await run(Letters)]
    model = ReadModel(Letters, pool, runners[0].waiting)
    last = await writer.fill(conversation_ids(3), 100)
    await model.wait_for(Position.at(MESSAGING, last), PATIENCE)
    await until_ready(runners[1])
    async with pool.connection() as conn:
        await conn.execute("UPDATE letters_v1 SET messages = 0")
    # Paused, so that what readers see in between can be seen here.
    await paused(database_url)
    await until_paused(*runners)
    done = await reset(Letters, streams, database_url)
    assert (done.build, done.replaced, done.position) == (2, 1, {MESSAGING: last})
    assert await rows_of(model) == (0, 0)
    assert (await verify(Letters, streams, database_url)).equal
    with pytest.raises(ReadModelBehind):
        await model.wait_for(Position.at(MESSAGING, last), 0.5)
    assert all(replica.ready() for replica in runners)
    await resumed(database_url)
    await model.wait_for(Position.at(MESSAGING, last), PATIENCE)
    assert await rows_of(model) == (last, last)
    assert all(replica.ready() for replica in runners)
    assert (await verify(Letters, streams, database_url)).equal
    back = await rebuild(Letters, streams, database_url, back=True)
    assert (back.build, back.replaced) == (1, 2)
    assert (await rows_of(model))[0] == 0


async def test_the_last_complete_build_is_kept_over_several_resets(
    streams: Client, writer: Writer, run: Opened, pool: Pool, database_url: str
) -> None:
    runners = await run(Letters)
    model = ReadModel(Letters, pool, runners.waiting)
    last = await writer.fill(conversation_ids(3), 20)
    await model.wait_for(Position.at(MESSAGING, last), PATIENCE)
    # So that no build is filled in between.
    await paused(database_url)
    for number in (2, 3, 4):
        done = await reset(Letters, streams, database_url)
        assert (done.build, done.replaced, done.kept) == (number, number - 1, 1)
    assert await builds_in(pool) == [(1, "retired"), (4, "live")]
    # It is all that there is, so it is not dropped on command either.
    incomplete = "the live build was reset and has not applied as many events yet"
    assert await drop_unused_builds("letters", 1, database_url) == ([], [SkippedBuild("letters", 1, 1, incomplete)])
    back = await rebuild(Letters, streams, database_url, back=True)
    assert (back.build, await rows_of(model)) == (1, (last, last))

    # A complete one replaces it.
    await reset(Letters, streams, database_url)
    await resumed(database_url)
    await model.wait_for(Position.at(MESSAGING, last), PATIENCE)
    assert (await reset(Letters, streams, database_url)).kept == 5
    assert await builds_in(pool) == [(5, "retired"), (6, "live")]


async def test_a_rebuild_after_a_reset_keeps_the_build_before_the_reset(
    streams: Client, writer: Writer, run: Opened, pool: Pool, database_url: str
) -> None:
    runners = await run(Letters)
    last = await writer.fill(conversation_ids(1), 20)
    await runners.waiting.wait(Letters, Position.at(MESSAGING, last), PATIENCE)
    await paused(database_url)
    await reset(Letters, streams, database_url)
    await rebuild(Letters, streams, database_url)
    assert await builds_in(pool) == [(1, "retired"), (3, "live")]


async def test_a_reset_is_refused_while_a_loss_is_not_accepted(
    nats_server: NatsServer,
    streams: Client,
    writer: Writer,
    run: Opened,
    pool: Pool,
    database_url: str,
    tmp_path: Path,
) -> None:
    runners = await run(Letters)
    (conversation,) = conversation_ids(1)
    last = await writer.say(conversation, *(f"text {number}" for number in range(100, 105)))
    await runners.waiting.wait(Letters, Position.at(MESSAGING, last), PATIENCE)
    # The server notices that its last message is gone.
    await nats_server.stop()
    cut_the_end(tmp_path / "nats", MESSAGING, 100)
    await nats_server.start()
    with pytest.raises(EventsLost, match=r"1 event is lost, MESSAGING:5\."):
        await reset(Letters, streams, database_url)
    assert await builds_in(pool) == [(1, "live")]
    await accept(JetStream(streams), [Gap(MESSAGING, 5, 5)], "an operator")
    assert (await reset(Letters, streams, database_url)).build == 2
    await runners.waiting.wait(Letters, Position.at(MESSAGING, last - 1), PATIENCE)


async def test_a_reset_is_refused_while_a_build_has_found_a_loss_that_is_neither_accepted_nor_repaired(
    nats_server: NatsServer,
    streams: Client,
    writer: Writer,
    run: Opened,
    pool: Pool,
    database_url: str,
    tmp_path: Path,
) -> None:
    (conversation,) = conversation_ids(1)
    last = await writer.say(conversation, *(f"text {number}" for number in range(100, 105)))
    await damage(nats_server, tmp_path / "nats", ["text 101"])
    # It goes live once the loss is accepted; the second loss is found later.
    await accept(JetStream(streams), [Gap(MESSAGING, 2, 2)], "an operator")
    runners = await run(Letters)
    await runners.waiting.wait(Letters, Position.at(MESSAGING, last), PATIENCE)
    async with pool.connection() as conn:
        (build,) = await builds.builds_of(conn, "letters", 1)
        await lost_events.add(conn, build, [Gap(MESSAGING, 3, 5)])
    await damage(nats_server, tmp_path / "nats", ["text 103"])
    # 3 and 5 are there.
    with pytest.raises(EventsLost, match=r"1 event is lost, MESSAGING:4\."):
        await reset(Letters, streams, database_url)
    assert await builds_in(pool) == [(1, "live")]
    await damage(nats_server, tmp_path / "nats", ["uext 103"])
    assert (await reset(Letters, streams, database_url)).build == 2


async def test_a_control_that_waits_for_too_long_names_what_it_waits_for(
    streams: Client, writer: Writer, run: Opened, pool: Pool, database_url: str
) -> None:
    runners = await run(Letters)
    last = await writer.fill(conversation_ids(1), 2)
    await runners.waiting.wait(Letters, Position.at(MESSAGING, last), PATIENCE)
    async with operator(database_url) as other, operator(database_url) as conn, pool.connection() as reader:
        async with other.transaction():
            # As a writer does during a batch.
            await other.execute("SELECT FROM projection_builds FOR SHARE")
            with pytest.raises(WriterBusy, match="its service writes a large batch"):
                await pause(conn, Letters, reason="a test", by="anna", patience=0.1)
            assert await try_lock(other, rebuild_lock(Letters))
            with pytest.raises(WriterBusy, match="a rebuild of it is running and writes"):
                await pause(conn, Letters, reason="a test", by="anna", patience=0.1)
            await other.execute(
                "INSERT INTO projection_builds (projection, version, build, state) VALUES ('letters', 1, 2, 'building')"
            )
            await other.execute(
                "INSERT INTO projection_progress (projection, version, build, events, total, events_per_second)"
                " VALUES ('letters', 1, 2, 45, 100, 10)"
            )
        with pytest.raises(RebuildUnderWay, match=r"by a rebuild, which has applied 45 % of its events"):
            await reset(Letters, streams, database_url)
        await other.execute("SELECT pg_advisory_unlock_all()")
        async with reader.transaction():
            await reader.execute("SELECT FROM letters_v1")
            with pytest.raises(ReadersBusy, match=r"after 0 s of waiting for a reader of its views|its readers"):
                await reset(Letters, streams, database_url, patience=0.3)
    assert await builds_in(pool) == [(1, "live")]


async def test_a_reset_while_events_arrive_loses_none_and_one_of_two_waits(
    streams: Client, writer: Writer, run: Opened, pool: Pool, database_url: str
) -> None:
    runners = await run(Letters)
    model = ReadModel(Letters, pool, runners.waiting)
    conversations = conversation_ids(3)
    await model.wait_for(Position.at(MESSAGING, await writer.fill(conversations, 50)), PATIENCE)
    stop = asyncio.Event()

    async def write() -> int:
        last = 0
        while not stop.is_set():
            last = await writer.say(conversations[0], "text")
        return last

    writing = asyncio.create_task(write())
    both = await asyncio.gather(*(reset(Letters, streams, database_url) for _ in range(2)), return_exceptions=True)
    assert {type(outcome) for outcome in both} <= {Reset, RebuildUnderWay}
    assert any(isinstance(outcome, Reset) for outcome in both)
    outcomes = await asyncio.gather(
        *(work(Letters, streams, database_url) for work in (rebuild, reset, rebuild, reset)), return_exceptions=True
    )
    # One after the other, or refused: none of them in between.
    assert {type(outcome) for outcome in outcomes} <= {Reset, Rebuilt, RebuildUnderWay}
    assert any(isinstance(outcome, Reset | Rebuilt) for outcome in outcomes)
    stop.set()
    last = await writing
    await model.wait_for(Position.at(MESSAGING, last), PATIENCE)
    assert await rows_of(model) == (last, last)
    assert (await verify(Letters, streams, database_url)).equal


async def test_a_reset_is_refused_while_a_rebuild_or_a_cutover_runs_and_without_a_live_build(
    streams: Client, run: Opened, database_url: str
) -> None:
    with pytest.raises(NothingToReset):
        await reset(Letters, streams, database_url)
    await until_ready(await run(Letters))
    async with operator(database_url) as conn:
        # A rebuild holds it until its build is live.
        assert await try_lock(conn, rebuild_lock(Letters))
        with pytest.raises(RebuildUnderWay):
            await reset(Letters, streams, database_url)
        (status,) = await status_of(Letters, database_url, streams)
        assert (status.state, status.build) == ("live", 1)
        assert await last_errors.failure(conn, Letters.name, Letters.version) is None
