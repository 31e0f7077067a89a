"""Folded rows are those of a simple fold over the stream, however the events are batched, interrupted and retried."""

import asyncio
import sys
from collections.abc import Sequence
from datetime import datetime

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nats.aio.client import Client

from contracts import subjects
from contracts.envelope import Recorded
from contracts.events.message import MessageSeen, MessageSent
from contracts.subjects import MESSAGING
from infra.embedded.nats_server import NatsServer
from projections.engine import Projection, RowChanges, folds, handles
from projections.engine.apply.build_writer import BuildWriter
from projections.engine.apply.errors import BuildSuperseded
from projections.engine.apply.writing import batch_transaction
from projections.engine.inspection.verify import verify
from projections.engine.rebuild.cutover import drop_build, start_build
from projections.engine.storage.builds import Connection
from projections.engine.storage.dead_letters import Counts
from projections.engine.storage.tables import BadTables
from streams.message import Message
from tests.integration.projections.event_writer import PATIENCE, RECIPIENT, Writer, seen
from tests.integration.projections.folding import CONVERSATIONS, TALLIES, dead_letters, message, said
from tests.integration.projections.sample_folds import FORGET, POISON, REFUSED, Number, Tallies
from tests.integration.projections.stored_rows import rows


def folded(messages: Sequence[Message]) -> tuple[list[tuple[object, ...]], list[tuple[int, str]]]:
    """The rows and dead letters of a fold in memory."""
    tallies: dict[str, tuple[list[str], datetime]] = {}
    waiting: list[tuple[int, str]] = []
    poisoned: set[str] = set()
    for stored in messages:
        event = stored.open()
        assert isinstance(event.data, MessageSent)
        conversation, text = event.aggregate_id, str(event.data.text)
        if conversation in poisoned or text == POISON:
            waiting.append((stored.sequence, "parked" if conversation in poisoned else "failed"))
            poisoned.add(conversation)
        elif text == FORGET:
            tallies.pop(conversation, None)
        else:
            tallies[conversation] = ([*tallies.get(conversation, ([], event.at))[0], text], event.at)
    return [
        (conversation, len(texts), texts[-3:], {text: texts.count(text) for text in texts}, at)
        for conversation, (texts, at) in sorted(tallies.items())
    ], waiting


async def test_any_batches_any_restarts_and_a_rebuild_give_the_rows_of_a_fold_in_memory(conn: Connection) -> None:
    ways = st.tuples(st.sampled_from(["go on", "cut", "restart", "retake"]), st.sampled_from(CONVERSATIONS))
    words = st.sampled_from(["a", "b", 'ü\\"{},\n\t', "", FORGET, POISON])
    loop = asyncio.get_running_loop()

    async def apply(messages: list[Message], steps: list[str]) -> None:
        build = await start_build(conn, Tallies)
        writer = await BuildWriter.open(conn, Tallies, build)
        batch = writer.batch()
        for stored, step in zip(messages, steps, strict=True):
            await writer.add_to_batch(batch, MESSAGING, [stored], stored.sequence)
            if step == "retake":
                # Two batches at once: one is filled before the other is written.
                following = writer.batch()
                await writer.commit(batch)
                batch = following
            if step in ("cut", "restart"):
                await writer.commit(batch)
                if step == "restart":
                    writer = await BuildWriter.open(conn, Tallies, build)
                batch = writer.batch()
        await writer.commit(batch)
        expected, waiting = folded(messages)
        table = build.table(Tallies.view("tallies"))
        assert await rows(conn, TALLIES.format(table)) == expected
        assert await dead_letters(conn, build) == waiting
        assert writer.letters == Counts(
            sum(state == "failed" for _, state in waiting), sum(state == "parked" for _, state in waiting)
        )
        await drop_build(conn, Tallies, build)

    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
    @given(happened=st.lists(st.tuples(ways, words), min_size=1, max_size=30))
    def check(happened: list[tuple[tuple[str, str], str]]) -> None:
        messages = said(*((conversation, text) for (_, conversation), text in happened))
        for steps in ([step for (step, _), _ in happened], ["go on"] * len(messages)):
            asyncio.run_coroutine_threadsafe(apply(messages, steps), loop).result(PATIENCE)

    await asyncio.to_thread(check)


async def test_a_batch_filled_while_the_one_before_it_is_written_is_folded_onto_its_rows(conn: Connection) -> None:
    build = await start_build(conn, Tallies)
    writer = await BuildWriter.open(conn, Tallies, build)
    messages = said(*((CONVERSATIONS[0], str(number)) for number in range(4)))
    one, other = writer.batch(), writer.batch()
    await writer.add_to_batch(one, MESSAGING, messages[:2], 2)
    await writer.add_to_batch(other, MESSAGING, messages[2:], 4)
    await writer.commit(one)
    await writer.commit(other)
    assert (await rows(conn, TALLIES.format("tallies_v1_b1")))[0][1:3] == (4, ["1", "2", "3"])


@pytest.mark.parametrize("copied_from", [1, 10_000])
@pytest.mark.parametrize("together", [1, 100])
async def test_an_event_whose_row_the_table_refuses_makes_its_row_wait_and_no_other(
    conn: Connection, copied_from: int, together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_transaction, "_COPIED_FROM", copied_from)
    bad, good, other = CONVERSATIONS
    messages = said((good, "a"), (bad, "b"), (bad, REFUSED), (other, POISON), (good, "c"), (bad, "d"), (other, "e"))
    build = await start_build(conn, Tallies)
    writer = await BuildWriter.open(conn, Tallies, build)
    for start in range(0, len(messages), together):
        part = messages[start : start + together]
        await writer.apply(MESSAGING, part, part[-1].sequence)
    tallies = {row[0]: row[1:3] for row in await rows(conn, TALLIES.format("tallies_v1_b1"))}
    assert tallies == {good: (2, ["a", "c"]), bad: (1, ["b"])}
    assert await dead_letters(conn, build) == [(3, "failed"), (4, "failed"), (6, "parked"), (7, "parked")]


async def test_of_two_writers_the_one_that_comes_second_folds_nothing(conn: Connection) -> None:
    build = await start_build(conn, Tallies)
    messages = said(*((CONVERSATIONS[0], str(number)) for number in range(4)))
    one, other = await BuildWriter.open(conn, Tallies, build), await BuildWriter.open(conn, Tallies, build)
    await one.apply(MESSAGING, messages[:2], 2)
    with pytest.raises(BuildSuperseded):
        await other.apply(MESSAGING, messages[:3], 3)
    await one.apply(MESSAGING, messages[2:], 4)
    assert (await rows(conn, TALLIES.format("tallies_v1_b1")))[0][1] == 4


async def test_a_row_type_has_to_fit_its_table(conn: Connection) -> None:
    class Unfit(Projection):
        streams = (MESSAGING,)
        tables = "CREATE TABLE {unfit} (number bigint PRIMARY KEY)"

        @folds(MessageSent, table="unfit", key=lambda event: {"number": 1})
        def sent(self, row: Number | None, event: Recorded[MessageSent]) -> Number | None:
            return row

    build = await start_build(conn, Unfit)
    with pytest.raises(BadTables, match=r"Number\.number is folded into unfit, but a part of its key"):
        await BuildWriter.open(conn, Unfit, build)


class Clock(msgspec.Struct):
    at: datetime


async def test_a_time_is_folded_with_its_zone_only(conn: Connection) -> None:
    class Clocks(Projection):
        streams = (MESSAGING,)
        tables = "CREATE TABLE {clocks} (id uuid PRIMARY KEY, at timestamp)"

        @folds(MessageSent, table="clocks", key="id")
        def sent(self, row: Clock | None, event: Recorded[MessageSent]) -> Clock:
            return Clock(event.at)

    build = await start_build(conn, Clocks)
    with pytest.raises(BadTables, match=r"Clock\.at is folded into clocks .*use timestamptz"):
        await BuildWriter.open(conn, Clocks, build)


async def test_nothing_else_writes_a_folded_table(conn: Connection) -> None:
    class Both(Projection):
        streams = (MESSAGING,)
        tables = "CREATE TABLE {both} (id uuid PRIMARY KEY, number bigint)"

        @folds(MessageSent, table="both", key="id")
        def sent(self, row: Number | None, event: Recorded[MessageSent]) -> Number:
            return Number(1)

        @handles(MessageSeen)
        def seen(self, event: Recorded[MessageSeen], write: RowChanges) -> None:
            write.upsert("both", key={"id": event.data.conversation_id}, set={"number": 2})

    build = await start_build(conn, Both)
    writer = await BuildWriter.open(conn, Both, build)
    mark = message(2, subjects.read_mark(CONVERSATIONS[0], RECIPIENT), seen(CONVERSATIONS[0], 1))
    await writer.apply(MESSAGING, [*said((CONVERSATIONS[0], "a")), mark], 2)
    assert await rows(conn, "SELECT number FROM both_v1_b1") == [(1,)]
    assert await rows(conn, "SELECT sequence, reason FROM projection_dead_letters") == [
        (2, "UnsupportedValue: both is a folded table: only its fold writes its rows")
    ]


async def test_two_runners_one_of_which_is_killed_again_and_again_fold_every_event_once(
    nats_server: NatsServer, streams: Client, writer: Writer, conn: Connection, database_url: str
) -> None:
    async def start() -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.integration.projections.sample_folds", nats_server.url, database_url
        )

    async def reached() -> int:
        stored_rows = await rows(
            conn,
            "SELECT coalesce(max(c.sequence), 0) FROM projection_checkpoints AS c"
            " JOIN projection_builds AS b USING (projection, version, build) WHERE b.state = 'live'",
        )
        return int(str(stored_rows[0][0]))

    workers = [await start(), await start()]
    try:
        last = 0
        for killed in range(4):
            for number in range(10):
                last = await writer.say(CONVERSATIONS[number % 3], *(f"text {index}" for index in range(20)))
            if killed < 3:
                # The first one leads; which one does later is not known.
                async with asyncio.timeout(PATIENCE):
                    while await reached() == 0:
                        await asyncio.sleep(0.01)
                workers[killed % 2].kill()
                await workers[killed % 2].wait()
                workers[killed % 2] = await start()
        async with asyncio.timeout(PATIENCE):
            while await reached() < last:
                await asyncio.sleep(0.01)
        assert await rows(conn, "SELECT sum(messages)::int FROM tallies_v1") == [(last,)]
        assert (await verify(Tallies, streams, database_url)).equal
    finally:
        for worker in workers:
            if worker.returncode is None:
                worker.kill()
                await worker.wait()
