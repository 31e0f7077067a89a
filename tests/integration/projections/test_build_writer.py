"""A build has one writer, which asserts its checkpoint; rows and checkpoint are written together or not at all."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from uuid import UUID

import pytest
import pytest_asyncio
from nats.aio.client import Client
from psycopg import sql

from contracts import subjects
from contracts.envelope import Recorded
from contracts.events.friendship import FriendshipAccepted
from contracts.events.message import MessageSeen, MessageSent
from contracts.positions import Position
from contracts.subjects import CONTACT, MESSAGING
from contracts.values.ids import new_id, pair_id
from projections.engine import Projection, RowChanges, handles
from projections.engine.apply import loop_slices, pipeline
from projections.engine.apply.batch import Batch
from projections.engine.apply.build_writer import BuildWriter
from projections.engine.apply.errors import BuildSuperseded
from projections.engine.apply.merging.row_merging import RowGroup
from projections.engine.apply.pipeline import Pipeline
from projections.engine.apply.writing import batch_transaction, statements
from projections.engine.reading.stream_sources import LIMIT, Sources
from projections.engine.rebuild.cutover import start_build
from projections.engine.rebuild.rebuild import rebuild
from projections.engine.storage.builds import Build, Connection
from projections.engine.storage.connections import connect
from projections.engine.storage.dead_letters import Counts
from projections.engine.storage.schema import ensure_schema
from streams.message import Message
from streams.reader import Reader
from tests.integration.projections.event_writer import RECIPIENT, Writer, conversation_ids, seen
from tests.integration.projections.sample_projection import POISON, Letters


@pytest_asyncio.fixture
async def conn(database_url: str) -> AsyncIterator[Connection]:
    opened = await connect(database_url, "filling")
    await ensure_schema(opened)
    try:
        yield opened
    finally:
        await opened.close()


@pytest_asyncio.fixture
async def build(conn: Connection) -> Build:
    return await start_build(conn, Letters)


async def stored(nc: Client, stream: str = MESSAGING) -> list[Message]:
    """All that is in the stream."""
    found: list[Message] = []
    async with Reader(nc, stream, name="test") as reader:
        async for batch in reader.batches():
            found += batch.messages
            if batch.pending == 0 and found:
                break
    return found


async def number(conn: Connection, query: str) -> int:
    row = await (await conn.execute(query.encode())).fetchone()
    assert row is not None
    return int(str(row[0]))


COUNT = "SELECT coalesce(sum(messages), 0) FROM letters_v1_b1"
TEXTS = "SELECT count(*) FROM letters_texts_v1_b1"


NO_TEXT = {
    "too early": (datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=5))), None),
    "too long": (None, 10**5_000),
    "too large": (None, Decimal("1e200000")),
    "half": (None, None, "\ud800"),
    "nothing": (None, None, "\x00"),
    "deep": (None, None, None, {"a": "\ud800"}),
}


class Values(Projection):
    """Takes a text for values that the database does not take."""

    version = 1
    streams = (MESSAGING,)
    tables = """
        CREATE TABLE {values} (id uuid PRIMARY KEY, at timestamptz, number numeric, text text, json jsonb, name text)
    """

    @handles(MessageSent)
    def sent(self, event: Recorded[MessageSent], write: RowChanges) -> None:
        name = str(event.data.text)
        values = dict(zip(("at", "number", "text", "json"), (*NO_TEXT.get(name, ()), *[None] * 4), strict=False))
        write.insert("values", key={"id": event.data.message_id}, set={**values, "name": name})


@pytest.mark.parametrize("copied_from", [1, 10_000])
async def test_whatever_an_event_makes_of_a_value_it_ends_as_a_dead_letter(
    streams: Client, writer: Writer, conn: Connection, copied_from: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_transaction, "_COPIED_FROM", copied_from)
    build = await start_build(conn, Values)
    conversations = conversation_ids(len(NO_TEXT))
    for conversation, poison in zip(conversations, NO_TEXT, strict=True):
        last = await writer.say(conversation, "fine", poison, "behind it")
    opened = await BuildWriter.open(conn, Values, build)
    await opened.apply(MESSAGING, await stored(streams), last)
    assert opened.letters == Counts(failed=len(NO_TEXT), parked=len(NO_TEXT))
    assert opened.position.sequence(MESSAGING) == last
    assert await number(conn, "SELECT count(*) FROM values_v1_b1 WHERE name = 'fine'") == len(NO_TEXT)


class Parts(Projection):
    """Its table divides by zero for the second message of a conversation."""

    version = 1
    streams = (MESSAGING,)
    tables = """
        CREATE TABLE {parts} (
            id uuid PRIMARY KEY, number bigint, part bigint GENERATED ALWAYS AS (100 / (number - 2)) STORED
        )
    """

    @handles(MessageSent)
    def sent(self, event: Recorded[MessageSent], write: RowChanges) -> None:
        write.upsert("parts", key={"id": event.data.message_id}, set={"number": event.data.sequence})


async def test_a_table_that_divides_by_zero_is_not_taken_for_a_checkpoint_that_has_moved(
    streams: Client, writer: Writer, conn: Connection
) -> None:
    build = await start_build(conn, Parts)
    one, other = conversation_ids(2)
    await writer.say(one, "first", "second", "third")
    last = await writer.say(other, "first")
    opened = await BuildWriter.open(conn, Parts, build)
    await opened.apply(MESSAGING, await stored(streams), last)
    assert opened.letters == Counts(failed=1, parked=1)
    assert await number(conn, "SELECT count(*) FROM parts_v1_b1") == 2


@pytest.mark.parametrize("copied_from", [1, 10_000])
async def test_of_two_writers_the_one_that_comes_second_writes_nothing(
    streams: Client,
    writer: Writer,
    conn: Connection,
    build: Build,
    copied_from: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(batch_transaction, "_COPIED_FROM", copied_from)
    await writer.fill(conversation_ids(3), 10)
    messages = await stored(streams)
    one, other = await BuildWriter.open(conn, Letters, build), await BuildWriter.open(conn, Letters, build)
    await one.apply(MESSAGING, messages[:20], 20)
    with pytest.raises(BuildSuperseded):
        await other.apply(MESSAGING, messages, 30)
    assert (await number(conn, COUNT), await number(conn, TEXTS)) == (20, 20)
    await one.apply(MESSAGING, messages, 30)
    assert (await number(conn, COUNT), await number(conn, TEXTS)) == (30, 30)


async def failed_transactions(conn: Connection) -> int:
    await conn.execute("SELECT pg_stat_force_next_flush()")
    return await number(conn, "SELECT xact_rollback FROM pg_stat_database WHERE datname = current_database()")


async def test_for_a_writer_that_comes_second_no_transaction_fails_at_the_server(
    streams: Client, writer: Writer, conn: Connection, build: Build
) -> None:
    await writer.fill(conversation_ids(1), 2)
    messages = await stored(streams)
    one, other = await BuildWriter.open(conn, Letters, build), await BuildWriter.open(conn, Letters, build)
    before = await failed_transactions(conn)
    await one.apply(MESSAGING, messages[:1], 1)
    with pytest.raises(BuildSuperseded):
        await other.apply(MESSAGING, messages, 2)
    assert await number(conn, COUNT) == 1
    assert await failed_transactions(conn) == before


async def test_a_writer_that_comes_second_is_stopped_even_where_an_event_is_refused(
    streams: Client, writer: Writer, conn: Connection, build: Build
) -> None:
    await writer.say(conversation_ids(1)[0], "a", "poison for the table", "b")
    messages = await stored(streams)
    one, other = await BuildWriter.open(conn, Letters, build), await BuildWriter.open(conn, Letters, build)
    await one.apply(MESSAGING, messages, 3)
    with pytest.raises(BuildSuperseded):
        await other.apply(MESSAGING, messages, 3)
    assert await number(conn, COUNT) == 1
    assert await number(conn, "SELECT count(*) FROM projection_dead_letters") == 2


async def test_a_later_batch_cannot_be_written_before_an_earlier_one(
    streams: Client, writer: Writer, conn: Connection, build: Build
) -> None:
    await writer.fill(conversation_ids(1), 10)
    messages = await stored(streams)
    one = await BuildWriter.open(conn, Letters, build)
    earlier, later = one.batch(), one.batch()
    await one.add_to_batch(earlier, MESSAGING, messages[:5], 5)
    await one.add_to_batch(later, MESSAGING, messages[5:], 10)
    with pytest.raises(BuildSuperseded):
        await one.commit(later)
    assert await number(conn, COUNT) == 0


@pytest.mark.parametrize("poison", [POISON, "poison for the table"])
async def test_a_batch_taken_before_the_one_before_it_failed_lets_its_aggregate_wait(
    streams: Client, writer: Writer, conn: Connection, build: Build, poison: str
) -> None:
    bad, good = conversation_ids(2)
    await writer.say(bad, poison)
    await writer.say(good, "a")
    await writer.say(bad, "waits")
    await writer.say(good, "b")
    messages = await stored(streams)
    one = await BuildWriter.open(conn, Letters, build)
    earlier, later = one.batch(), one.batch()
    await one.add_to_batch(earlier, MESSAGING, messages[:2], 2)
    await one.add_to_batch(later, MESSAGING, messages[2:], 4)
    await one.commit(earlier)
    await one.commit(later)
    assert await number(conn, COUNT) == 2
    cursor = await conn.execute("SELECT sequence, state FROM projection_dead_letters ORDER BY sequence")
    assert await cursor.fetchall() == [(1, "failed"), (3, "parked")]
    assert one.letters == (1, 1)


@pytest.fixture
def short_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tasks run after each event, and after each part of the rows to copy."""
    monkeypatch.setattr(loop_slices, "SLICE_SECONDS", 0.0)
    monkeypatch.setattr(batch_transaction, "_ENCODED_TOGETHER", 10)


async def turns_during(work: Coroutine[None, None, None]) -> int:
    """How often another task ran meanwhile."""
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


class Latest(Projection):
    """Inserts a row with each message, although a conversation has one row alone."""

    streams = (MESSAGING,)
    tables = """
        CREATE TABLE {latest} (conversation_id uuid PRIMARY KEY, sequence bigint, text text, opening text, seen bigint)
    """

    @handles(MessageSent)
    def sent(self, event: Recorded[MessageSent], write: RowChanges) -> None:
        said = {"sequence": event.data.sequence, "text": event.data.text}
        opening = {"opening": f"{event.data.sequence}. {event.data.text}"}
        write.insert("latest", key={"conversation_id": event.aggregate_id}, set=said, first=opening)

    @handles(MessageSeen)
    def seen(self, event: Recorded[MessageSeen], write: RowChanges) -> None:
        write.upsert(
            "latest", key={"conversation_id": event.data.conversation_id}, greatest={"seen": event.data.sequence}
        )


@pytest.fixture
def copied(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """The table and the number of rows of each copied group."""
    groups: list[tuple[str, int]] = []

    def copy_statement(group: RowGroup) -> sql.Composed:
        groups.append((group.shape.name, len(group.keys)))
        return statements.copy_statement(group)

    monkeypatch.setattr(batch_transaction, "_COPIED_FROM", 2)
    monkeypatch.setattr(batch_transaction, "copy_statement", copy_statement)
    return groups


async def test_inserted_rows_that_exist_after_all_are_merged_in_that_batch_alone(
    streams: Client, writer: Writer, conn: Connection, copied: list[tuple[str, int]]
) -> None:
    known, new = conversation_ids(5), conversation_ids(3)
    for conversations in (known, known, new):
        for conversation in conversations:
            await writer.say(conversation, "tab\tand\nline \\N")
    messages = await stored(streams)
    one = await BuildWriter.open(conn, Latest, await start_build(conn, Latest))
    for begin, end in ((0, 5), (5, 10), (10, 13)):
        await one.apply(MESSAGING, messages[begin:end], end)
    cursor = await conn.execute(
        "SELECT sequence, text, opening, count(*) FROM latest_v1_b1 GROUP BY 1, 2, 3 ORDER BY sequence"
    )
    text = "tab\tand\nline \\N"
    assert await cursor.fetchall() == [(1, text, f"1. {text}", 3), (2, text, f"1. {text}", 5)]
    # Copying the second batch was refused.
    assert copied == [("latest", 5), ("latest", 5), ("latest", 3)]
    assert one.letters == (0, 0)


async def test_a_batch_inserts_rows_and_merges_into_them_and_into_earlier_ones(
    streams: Client, writer: Writer, conn: Connection, copied: list[tuple[str, int]]
) -> None:
    earlier, *later = conversation_ids(4)
    await writer.say(earlier, "a")
    await writer.append(subjects.read_mark(earlier, RECIPIENT), seen(earlier, 1))
    for conversation in later:
        await writer.say(conversation, "b")
    await writer.append(subjects.read_mark(later[0], RECIPIENT), seen(later[0], 1))
    await writer.append(subjects.read_mark(earlier, RECIPIENT), seen(earlier, 2))
    await writer.append(subjects.read_mark(later[0], RECIPIENT), seen(later[0], 3))
    messages = await stored(streams)
    one = await BuildWriter.open(conn, Latest, await start_build(conn, Latest))
    await one.apply(MESSAGING, messages[:1], 1)
    await one.apply(MESSAGING, messages[1:], messages[-1].sequence)
    cursor = await conn.execute("SELECT conversation_id, text, seen FROM latest_v1_b1")
    assert {row[0]: row[1:] for row in await cursor.fetchall()} == {
        UUID(earlier): ("a", 2),
        UUID(later[0]): ("b", 3),
        UUID(later[1]): ("b", None),
        UUID(later[2]): ("b", None),
    }
    assert copied == [("latest", 2)]


async def test_only_inserted_rows_are_copied(
    streams: Client, writer: Writer, conn: Connection, build: Build, copied: list[tuple[str, int]]
) -> None:
    await writer.fill(conversation_ids(2), 2)
    one = await BuildWriter.open(conn, Letters, build)
    await one.apply(MESSAGING, await stored(streams), 4)
    assert copied == [("texts", 4)]


class Both(Projection):
    streams = (CONTACT, MESSAGING)
    tables = "CREATE TABLE {both} (id uuid PRIMARY KEY, events bigint NOT NULL DEFAULT 0)"

    @handles(MessageSent, FriendshipAccepted)
    def happened(self, event: Recorded[MessageSent | FriendshipAccepted], write: RowChanges) -> None:
        write.upsert("both", key={"id": event.aggregate_id}, add={"events": 1})


async def test_one_batch_moves_the_checkpoints_of_all_its_streams_or_of_none(
    streams: Client, writer: Writer, conn: Connection
) -> None:
    one, other = new_id(), new_id()
    pair = pair_id(one, other)
    await writer.append(subjects.friendship(pair), FriendshipAccepted(requester_id=one, addressee_id=other))
    await writer.say(pair, "a", "b")
    friends, said = await stored(streams, CONTACT), await stored(streams)
    build = await start_build(conn, Both)
    first, second = await BuildWriter.open(conn, Both, build), await BuildWriter.open(conn, Both, build)
    await first.apply(CONTACT, friends, 1)
    batch = second.batch()
    await second.add_to_batch(batch, MESSAGING, said, 2)
    await second.add_to_batch(batch, CONTACT, friends, 1)
    with pytest.raises(BuildSuperseded):
        await second.commit(batch)
    assert await number(conn, "SELECT events FROM both_v1_b1") == 1
    await first.apply(MESSAGING, said, 2)
    assert await number(conn, "SELECT events FROM both_v1_b1") == 3
    assert first.position == Position({CONTACT: 1, MESSAGING: 2})


async def test_events_that_nobody_handles_move_the_checkpoint(
    streams: Client, writer: Writer, conn: Connection
) -> None:
    class Deaf(Projection):
        streams = (MESSAGING,)
        tables = "CREATE TABLE {deaf} (id uuid PRIMARY KEY)"

    await writer.fill(conversation_ids(1), 3)
    build = await start_build(conn, Deaf)
    await (await BuildWriter.open(conn, Deaf, build)).apply(MESSAGING, await stored(streams), 3)
    assert (await BuildWriter.open(conn, Deaf, build)).position == Position.at(MESSAGING, 3)


async def test_a_slow_database_makes_batches_larger_but_never_without_bound(
    streams: Client, writer: Writer, conn: Connection, build: Build, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "_EVENTS", 500)
    conversations = conversation_ids(4)
    end = await writer.fill(conversations, 1_000)
    one = await BuildWriter.open(conn, Letters, build)
    sizes: list[int] = []
    async with Pipeline(Sources(streams, Letters.filters(), one.position, name="test", limit=100), one) as line:
        while not line.at_end:
            batch = await line.step()
            assert batch is not None
            sizes.append(batch.events)
    assert sum(sizes) == end == await number(conn, TEXTS)
    assert max(sizes) <= 500 + 100
    assert LIMIT <= pipeline._BACKLOG


async def test_a_build_gets_its_readers_indexes_when_it_is_shown(
    streams: Client, writer: Writer, conn: Connection, database_url: str
) -> None:
    indexes = "SELECT count(*) FROM pg_indexes WHERE tablename = 'letters_texts_v1_b1'"
    await writer.fill(conversation_ids(1), 3)
    await start_build(conn, Letters)
    assert await number(conn, indexes) == 1
    await rebuild(Letters, streams, database_url)
    assert await number(conn, indexes) == 2


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
