"""Events become rows, each exactly once, whichever process dies in between."""

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest
import pytest_asyncio
from nats.aio.client import Client

from contracts import subjects
from contracts.positions import Position
from contracts.subjects import MESSAGING
from projections.engine import Projection, ReadModel, Runners
from projections.engine.apply.batch import Batch
from projections.engine.apply.build_writer import BuildWriter
from projections.engine.inspection.verify import verify
from projections.engine.reading.stream_sources import LIMIT
from projections.engine.running import runner
from tests.fix_postgres import Pool
from tests.integration.projections.event_writer import PATIENCE, Opened, Writer, conversation_ids, seen, until_ready
from tests.integration.projections.sample_projection import POISON, Letters

RUNNERS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'projection letters'"


class Row(msgspec.Struct):
    conversation_id: str
    messages: int
    last_text: str | None
    last_sequence: int | None
    seen: int | None


class Count(msgspec.Struct):
    messages: int


async def total(model: ReadModel) -> int:
    rows, _ = await model.select(Count, "SELECT coalesce(sum(messages), 0)::bigint AS messages FROM {letters}")
    return rows[0].messages


async def test_rows_appear_with_the_position_that_they_reflect(writer: Writer, run: Opened, pool: Pool) -> None:
    runners = await run(Letters)
    model = ReadModel(Letters, pool, runners.waiting)
    one, other = conversation_ids(2)
    await writer.say(one, "a", "b")
    await writer.say(other, "c")
    last = await writer.append(subjects.read_mark(one, "x"), seen(one, 2))
    await model.wait_for(Position.at(MESSAGING, last), PATIENCE)
    rows, position = await model.select(Row, "SELECT * FROM {letters} WHERE conversation_id = %(id)s", {"id": one})
    assert rows == [Row(one, 2, "b", 2, 2)]
    assert position.sequence(MESSAGING) == last


async def test_rows_keep_the_order_of_the_query(writer: Writer, run: Opened, pool: Pool) -> None:
    runners = await run(Letters)
    model = ReadModel(Letters, pool, runners.waiting)
    await model.wait_for(Position.at(MESSAGING, await writer.fill(conversation_ids(1), 300)), PATIENCE)

    class Text(msgspec.Struct):
        sequence: int

    rows, _ = await model.select(Text, "SELECT sequence FROM {texts} ORDER BY sequence DESC LIMIT 200")
    assert [row.sequence for row in rows] == list(range(300, 100, -1))


async def test_no_rows_still_tell_the_position(writer: Writer, run: Opened, pool: Pool) -> None:
    runners = await run(Letters)
    model = ReadModel(Letters, pool, runners.waiting)
    last = await writer.say(conversation_ids(1)[0], "a")
    await model.wait_for(Position.at(MESSAGING, last), PATIENCE)
    rows, position = await model.select(Row, "SELECT * FROM {letters} WHERE messages > 5")
    assert (rows, position) == ([], Position.at(MESSAGING, last))


async def test_two_runners_apply_every_event_once(
    streams: Client, writer: Writer, run: Opened, pool: Pool, database_url: str
) -> None:
    one, other = await run(Letters), await run(Letters)
    conversations = conversation_ids(10)
    last = await writer.fill(conversations, 100)
    for runners in (one, other):
        model = ReadModel(Letters, pool, runners.waiting)
        await model.wait_for(Position.at(MESSAGING, last), PATIENCE)
        assert await total(model) == 1_000
    assert (await verify(Letters, streams, database_url)).equal


async def test_a_runner_that_stops_is_replaced_by_another(writer: Writer, run: Opened, pool: Pool) -> None:
    one, other = await run(Letters), await run(Letters)
    conversation = conversation_ids(1)[0]
    await one.waiting.wait(Letters, Position.at(MESSAGING, await writer.say(conversation, "a")), PATIENCE)
    await one.stop()
    await other.waiting.wait(Letters, Position.at(MESSAGING, await writer.say(conversation, "b")), PATIENCE)


@pytest_asyncio.fixture
async def traffic(writer: Writer) -> AsyncIterator["asyncio.Task[int]"]:
    """Writes 3,000 messages in the background; returns their number."""

    async def write() -> int:
        conversations = conversation_ids(6)
        for _ in range(50):
            for conversation in conversations:
                await writer.say(conversation, *(["text"] * 10))
        return 3_000

    task = asyncio.create_task(write())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_runners_whose_connections_are_killed_apply_every_event_once(
    streams: Client, run: Opened, pool: Pool, database_url: str, traffic: "asyncio.Task[int]"
) -> None:
    runners = [await run(Letters), await run(Letters)]
    killed = 0
    while not traffic.done():
        async with pool.connection() as conn:
            killed += len(await (await conn.execute(RUNNERS)).fetchall())
        await asyncio.wait([traffic], timeout=0.1)
    model = ReadModel(Letters, pool, runners[0].waiting)
    end = (await streams.jetstream().stream_info(MESSAGING)).state.last_seq
    await model.wait_for(Position.at(MESSAGING, end), PATIENCE)
    assert killed > 0
    assert await total(model) == await traffic
    assert (await verify(Letters, streams, database_url)).equal


async def test_runners_that_are_cancelled_at_any_moment_apply_every_event_once(
    streams: Client, pool: Pool, database_url: str, traffic: "asyncio.Task[int]"
) -> None:
    while not traffic.done():
        runners = Runners([Letters], streams, pool, database_url)
        await runners.start()
        await asyncio.wait([traffic], timeout=0.15)
        await runners.stop()
    runners = Runners([Letters], streams, pool, database_url)
    await runners.start()
    try:
        end = (await streams.jetstream().stream_info(MESSAGING)).state.last_seq
        await runners.waiting.wait(Letters, Position.at(MESSAGING, end), PATIENCE)
    finally:
        await runners.stop()
    verdict = await verify(Letters, streams, database_url)
    assert (verdict.equal, verdict.events) == (True, await traffic)


async def test_a_poisoned_event_waits_with_its_aggregate_while_all_others_go_on(
    streams: Client, writer: Writer, run: Opened, pool: Pool, database_url: str
) -> None:
    one, two, three, fine = conversation_ids(4)
    for conversation, bad in ((one, POISON), (two, "poison for the table"), (three, "no\x00text")):
        await writer.say(conversation, "a", bad, "b")
        await writer.say(fine, *["text"] * 100)
        await writer.say(conversation, "c")
    last = await writer.say(fine, "text")
    runners = await run(Letters)
    model = ReadModel(Letters, pool, runners.waiting)
    await model.wait_for(Position.at(MESSAGING, last), PATIENCE)
    rows, _ = await model.select(Row, "SELECT * FROM {letters} WHERE conversation_id = %(id)s", {"id": fine})
    assert rows[0].messages == 301
    rows, _ = await model.select(Row, "SELECT * FROM {letters} WHERE conversation_id <> %(id)s", {"id": fine})
    assert sorted(row.conversation_id for row in rows) == sorted([one, two, three])
    assert [(row.messages, row.last_text) for row in rows] == [(1, "a")] * 3
    await runners.waiting.wait(Letters, Position.at(MESSAGING, await writer.say(one, "d")), PATIENCE)
    async with pool.connection() as conn:
        cursor = await conn.execute(
            "SELECT subject, state, reason FROM projection_dead_letters ORDER BY subject, sequence"
        )
        dead_letters = await cursor.fetchall()
    states = {subject: [state for of, state, _ in dead_letters if of == subject] for subject, _, _ in dead_letters}
    assert states == {
        subjects.conversation(one): ["failed", "parked", "parked", "parked"],
        subjects.conversation(two): ["failed", "parked", "parked"],
        subjects.conversation(three): ["failed", "parked", "parked"],
    }
    reasons = {subject: str(reason) for subject, state, reason in dead_letters if state == "failed"}
    # It quotes the text.
    assert POISON not in reasons[subjects.conversation(one)]
    assert "ValueError" in reasons[subjects.conversation(one)]
    assert "check constraint" in reasons[subjects.conversation(two)]
    verdict = await verify(Letters, streams, database_url)
    assert (verdict.equal, verdict.dead_letters) == (True, 10)


async def test_a_wiped_database_is_rebuilt_by_a_plain_start(writer: Writer, run: Opened, pool: Pool) -> None:
    first = await run(Letters)
    last = await writer.fill(conversation_ids(3), 50)
    await first.waiting.wait(Letters, Position.at(MESSAGING, last), PATIENCE)
    await first.stop()
    async with pool.connection() as conn:
        await conn.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    second = await run(Letters)
    model = ReadModel(Letters, pool, second.waiting)
    await model.wait_for(Position.at(MESSAGING, last), PATIENCE)
    assert await total(model) == 150
    await until_ready(second)


async def test_a_raised_version_is_built_beside_the_old_one_which_goes_on(
    writer: Writer, run: Opened, pool: Pool
) -> None:
    class Newer(Letters):
        name = "letters"
        version = 2

    old = await run(Letters)
    conversation = conversation_ids(1)[0]
    await writer.say(conversation, "a")
    new = await run(Newer)
    last = await writer.say(conversation, "b")
    await old.waiting.wait(Letters, Position.at(MESSAGING, last), PATIENCE)
    await new.waiting.wait(Newer, Position.at(MESSAGING, last), PATIENCE)
    await until_ready(new)
    models: list[ReadModel] = [
        ReadModel(Letters, pool, old.waiting),
        ReadModel(Newer, pool, new.waiting),
    ]
    assert [await total(model) for model in models] == [2, 2]


def test_a_projection_is_named_after_its_class() -> None:
    assert (Letters.name, Projection.version) == ("letters", 1)


async def test_a_backlog_of_a_live_read_model_comes_in_batches_between_which_others_have_their_turn(
    writer: Writer, run: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    runners = await run(Letters)
    conversations = conversation_ids(2)
    await runners.waiting.wait(Letters, Position.at(MESSAGING, await writer.fill(conversations, 1)), PATIENCE)
    await runners.stop()
    last = await writer.fill(conversations, 2_000)
    monkeypatch.setattr(runner, "_MOST_WHEN_LIVE", 500)
    sizes: list[int] = []
    write = BuildWriter.commit

    async def noted(filling: BuildWriter, batch: Batch) -> None:
        sizes.append(batch.events)
        await write(filling, batch)

    monkeypatch.setattr(BuildWriter, "commit", noted)
    again = await run(Letters)
    await again.waiting.wait(Letters, Position.at(MESSAGING, last), PATIENCE)
    assert sum(sizes) == 4_000
    assert max(sizes) < 500 + LIMIT
