"""Folded rows are those of a simple fold over the stream, however the events are batched, interrupted and retried."""

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import ClassVar

import msgspec
import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nats.aio.client import Client

from contracts import subjects
from contracts.envelope import Provenance, Recorded, encode, seal
from contracts.events.event import Event
from contracts.events.message import MessageSeen, MessageSent
from contracts.positions import Position
from contracts.subjects import MESSAGING
from contracts.values.ids import new_id
from infra.embedded.nats_server import NatsServer
from projections.engine import Projection, RowChanges, folds, handles
from projections.engine.apply.build_writer import BuildWriter
from projections.engine.apply.errors import BuildSuperseded
from projections.engine.apply.sequential.events import KeyUnknown
from projections.engine.apply.writing import batch_transaction
from projections.engine.dead_letters import queries, resolution
from projections.engine.dead_letters.fold_retry import CannotFoldAgain
from projections.engine.inspection import as_of
from projections.engine.inspection.verify import verify
from projections.engine.rebuild.cutover import drop_build, start_build
from projections.engine.rebuild.rebuild import rebuild
from projections.engine.storage.builds import Build, Connection
from projections.engine.storage.connections import connect
from projections.engine.storage.dead_letters import Counts
from projections.engine.storage.schema import ensure_schema
from projections.engine.storage.tables import BadTables
from streams.log import Log
from streams.message import Message
from tests.fix_postgres import Pool
from tests.integration.projections import sample_folds
from tests.integration.projections.event_writer import (
    PATIENCE,
    RECIPIENT,
    Opened,
    Writer,
    conversation_ids,
    seen,
    sent,
)
from tests.integration.projections.sample_folds import FORGET, POISON, REFUSED, Tallies
from tests.integration.projections.test_failing_projections import until_state

CONVERSATIONS = conversation_ids(3)
BEGINNING = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest_asyncio.fixture
async def conn(database_url: str) -> AsyncIterator[Connection]:
    opened = await connect(database_url, "folding")
    await ensure_schema(opened)
    try:
        yield opened
    finally:
        await opened.close()


def message(sequence: int, subject: str, event: Event, aggregate_id: str = "") -> Message:
    envelope = seal(
        event,
        aggregate_id=aggregate_id or subject.rpartition(".")[2],
        version=1,
        provenance=Provenance(),
        at=BEGINNING + timedelta(seconds=sequence),
    )
    return Message(stream=MESSAGING, sequence=sequence, subject=subject, payload=encode(envelope))


def said(*texts: tuple[str, str]) -> list[Message]:
    """Messages with the conversation and text of each."""
    return [
        message(sequence, subjects.conversation(conversation), sent(text, sequence))
        for sequence, (conversation, text) in enumerate(texts, start=1)
    ]


async def rows(conn: Connection, query: str) -> list[tuple[object, ...]]:
    return await (await conn.execute(query.encode())).fetchall()


async def letters(conn: Connection, build: Build) -> list[tuple[object, ...]]:
    cursor = await conn.execute(
        "SELECT sequence, state FROM projection_dead_letters WHERE (projection, version, build) = (%s, %s, %s)"
        " ORDER BY sequence",
        build.id,
    )
    return await cursor.fetchall()


TALLIES = "SELECT conversation_id::text, messages, texts, note, last_at FROM {} ORDER BY conversation_id"


def folded(messages: Sequence[Message]) -> tuple[list[tuple[object, ...]], list[tuple[int, str]]]:
    """The rows and dead letters of a fold in memory."""
    tallies: dict[str, tuple[list[str], datetime]] = {}
    waiting: list[tuple[int, str]] = []
    poisoned: set[str] = set()
    for each in messages:
        event = each.open()
        assert isinstance(event.data, MessageSent)
        conversation, text = event.aggregate_id, str(event.data.text)
        if conversation in poisoned or text == POISON:
            waiting.append((each.sequence, "parked" if conversation in poisoned else "failed"))
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
        for each, step in zip(messages, steps, strict=True):
            await writer.add_to_batch(batch, MESSAGING, [each], each.sequence)
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
        assert await letters(conn, build) == waiting
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
    found = {row[0]: row[1:3] for row in await rows(conn, TALLIES.format("tallies_v1_b1"))}
    assert found == {good: (2, ["a", "c"]), bad: (1, ["b"])}
    assert await letters(conn, build) == [(3, "failed"), (4, "failed"), (6, "parked"), (7, "parked")]


async def test_of_two_writers_the_one_that_comes_second_folds_nothing(conn: Connection) -> None:
    build = await start_build(conn, Tallies)
    messages = said(*((CONVERSATIONS[0], str(number)) for number in range(4)))
    one, other = await BuildWriter.open(conn, Tallies, build), await BuildWriter.open(conn, Tallies, build)
    await one.apply(MESSAGING, messages[:2], 2)
    with pytest.raises(BuildSuperseded):
        await other.apply(MESSAGING, messages[:3], 3)
    await one.apply(MESSAGING, messages[2:], 4)
    assert (await rows(conn, TALLIES.format("tallies_v1_b1")))[0][1] == 4


class Number(msgspec.Struct, frozen=True):
    number: int


KEYS: dict[str, list[object]] = {
    "uuid": [new_id(), new_id()],
    'text COLLATE "C"': ["", "a b", "NULL", '"{},\\\n\t', "'; DROP TABLE x", "ü\U0001f600", "a" * 2_000],
    "bigint": [0, -1, 2**63 - 1, -(2**63)],
    "smallint": [0, -32768],
    "boolean": [True, False],
    "date": [date(1, 1, 1), date(9999, 12, 31)],
    "timestamptz": [BEGINNING, BEGINNING + timedelta(microseconds=1), datetime(1, 1, 1, tzinfo=UTC)],
    "numeric": [Decimal("0.1"), Decimal(10**40)],
    "double precision": [0.1, -1e300, float("inf")],
    "bytea": [b"", b"\x00\\x"],
    "interval": [timedelta(), timedelta(days=400, microseconds=-1)],
}


@pytest.mark.parametrize("kind", KEYS)
async def test_a_key_is_of_any_type(conn: Connection, kind: str) -> None:
    keys = KEYS[kind]

    class Keyed(Projection):
        streams = (MESSAGING,)
        tables = f"CREATE TABLE {{keyed}} (one bigint, key {kind}, number bigint, PRIMARY KEY (key, one))"

        @folds(MessageSent, table="keyed", key=lambda event: {"one": 1, "key": keys[event.sequence % len(keys)]})
        def sent(self, row: Number | None, event: Recorded[MessageSent]) -> Number:
            return Number(row.number + 1 if row else 1)

    build = await start_build(conn, Keyed)
    writer = await BuildWriter.open(conn, Keyed, build)
    messages = said(*[(CONVERSATIONS[0], "a")] * (3 * len(keys)))
    for start in range(0, len(messages), len(keys) + 1):
        part = messages[start : start + len(keys) + 1]
        await writer.apply(MESSAGING, part, part[-1].sequence)
    assert await rows(conn, "SELECT number, count(*) FROM keyed_v1_b1 GROUP BY 1") == [(3, len(keys))]
    assert writer.letters == Counts()


AT_NIGHT = datetime(2026, 1, 31, 23, 59, tzinfo=UTC)


@pytest.mark.parametrize(
    ("kind", "spellings"),
    [
        ("uuid", [RECIPIENT, RECIPIENT.upper()]),
        ("numeric", [Decimal(1), Decimal("1.00"), 1, "1.0", Decimal("1E0")]),
        ("date", [date(2026, 1, 31), AT_NIGHT, AT_NIGHT.astimezone(timezone(timedelta(hours=9))), "2026-01-31"]),
    ],
)
async def test_a_key_is_one_row_however_it_is_written(conn: Connection, kind: str, spellings: list[object]) -> None:
    class Spelled(Projection):
        streams = (MESSAGING,)
        tables = f"CREATE TABLE {{spelled}} (key {kind} PRIMARY KEY, number bigint)"

        @folds(MessageSent, table="spelled", key=lambda event: {"key": spellings[event.sequence % len(spellings)]})
        def sent(self, row: Number | None, event: Recorded[MessageSent]) -> Number:
            if event.sequence == 2:
                raise ValueError("the second")
            return Number(row.number + 1 if row else 1)

    build = await start_build(conn, Spelled)
    writer = await BuildWriter.open(conn, Spelled, build)
    await writer.apply(MESSAGING, said(*[(CONVERSATIONS[0], "a")] * 5), 5)
    assert await rows(conn, "SELECT number FROM spelled_v1_b1") == [(1,)]
    assert await letters(conn, build) == [(2, "failed"), (3, "parked"), (4, "parked"), (5, "parked")]


@pytest.mark.parametrize(
    ("kind", "key"), [("uuid", "no id"), ("text", "\x00"), ("text", "\ud800"), ("integer", 2**31), ("date", "never")]
)
async def test_a_key_that_the_table_refuses_waits_alone(conn: Connection, kind: str, key: object) -> None:
    fine: dict[str, object] = {"uuid": new_id(), "text": "fine", "integer": 1, "date": "2026-01-31"}

    class Keyed(Projection):
        streams = (MESSAGING,)
        tables = f"CREATE TABLE {{keyed}} (key {kind} PRIMARY KEY, number bigint)"

        @folds(MessageSent, table="keyed", key=lambda event: {"key": fine[kind] if event.sequence % 2 else key})
        def sent(self, row: Number | None, event: Recorded[MessageSent]) -> Number:
            return Number(row.number + 1 if row else 1)

    build = await start_build(conn, Keyed)
    writer = await BuildWriter.open(conn, Keyed, build)
    messages = said(*[(CONVERSATIONS[0], "a")] * 6)
    await writer.apply(MESSAGING, messages[:4], 4)
    await writer.apply(MESSAGING, messages[4:], 6)
    assert await rows(conn, "SELECT number FROM keyed_v1_b1") == [(3,)]
    assert await letters(conn, build) == [(2, "failed"), (4, "parked"), (6, "parked")]


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


class ByLength(Projection):
    """Its key is unknown for an empty text."""

    streams = (MESSAGING,)
    tables = "CREATE TABLE {by_length} (length double precision PRIMARY KEY, number bigint)"
    least: ClassVar[int] = 1
    longer_by: ClassVar[int] = 0
    # The length whose row cannot be folded.
    refused: ClassVar[float | None] = None

    @folds(MessageSent, table="by_length", key=lambda event: {"length": _length(str(event.data.text))})
    def sent(self, row: Number | None, event: Recorded[MessageSent]) -> Number:
        if _length(str(event.data.text)) == self.refused:
            raise ValueError("refused")
        return Number(row.number + 1 if row else 1)


def _length(text: str) -> float:
    if len(text) < ByLength.least:
        raise ValueError("it is too short")
    return float(len(text) + ByLength.longer_by)


async def test_where_the_row_of_an_event_is_unknown_the_projection_fails_until_it_is_known(
    writer: Writer, run: Opened, pool: Pool, streams: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    runners = await run(ByLength)
    last = await writer.say(CONVERSATIONS[0], "a", "", "b")
    found = await until_state(ByLength, "failed", pool, streams)
    assert found.last_error is not None
    assert (
        f"projection by_length: the row that MESSAGING {last - 1} belongs to is unknown: ValueError: details withheld"
        in found.last_error.error
    )
    monkeypatch.setattr(ByLength, "least", 0)
    await runners.waiting.wait(ByLength, Position.at(MESSAGING, last), PATIENCE)
    async with pool.connection() as conn:
        cursor = await conn.execute("SELECT length, number FROM by_length_v1 ORDER BY length")
        assert await cursor.fetchall() == [(0.0, 1), (1.0, 2)]


async def test_an_event_that_cannot_be_read_waits_if_its_aggregate_is_the_key(conn: Connection) -> None:
    one, other, third = CONVERSATIONS
    messages = said((one, "a"), (one, "b"), (one, "c"), (other, "d"), (third, POISON), (third, "behind it"))
    for index in (1, 5):
        unreadable = messages[index].payload.replace(b'"schema":', b'"schema":9')
        messages[index] = msgspec.structs.replace(messages[index], payload=unreadable)
    build = await start_build(conn, Tallies)
    writer = await BuildWriter.open(conn, Tallies, build)
    await writer.apply(MESSAGING, messages, 6)
    assert [row[1] for row in await rows(conn, TALLIES.format("tallies_v1_b1"))] == [1, 1]
    assert await letters(conn, build) == [(2, "failed"), (3, "parked"), (5, "failed"), (6, "parked")]


async def test_an_event_without_an_envelope_waits_if_its_subject_names_its_row(
    streams: Client, writer: Writer, run: Opened, conn: Connection
) -> None:
    runners = await run(Tallies)
    conversation = CONVERSATIONS[0]
    await writer.say(conversation, "a")
    for payload in (b"no envelope", said((conversation, "b"))[0].payload):
        last = (await streams.jetstream().publish(subjects.conversation(conversation), payload)).seq
    await runners.waiting.wait(Tallies, Position.at(MESSAGING, last), PATIENCE)
    waiting = "SELECT sequence, type, state, fold_key FROM projection_dead_letters ORDER BY sequence"
    lane = f'tallies ["{conversation}"]'
    assert await rows(conn, waiting) == [(2, "?", "failed", lane), (3, "message.sent", "parked", lane)]
    operator = Operator(conn, streams)
    assert await operator.retry() == [("failed", 0, 2)]
    await operator.discard()
    assert [row[1] for row in await rows(conn, TALLIES.format("tallies_v1"))] == [2]
    # Nobody knows which reader's row this would be.
    nothing = msgspec.structs.replace(
        message(4, subjects.read_mark(conversation, RECIPIENT), seen(conversation, 1)), payload=b"no envelope"
    )
    build = await start_build(conn, Tallies)
    filling = await BuildWriter.open(conn, Tallies, build)
    with pytest.raises(KeyUnknown, match="MESSAGING 4"):
        await filling.apply(MESSAGING, [nothing], 4)


async def test_a_key_too_long_for_an_index_makes_its_event_wait(conn: Connection) -> None:
    class Long(Projection):
        streams = (MESSAGING,)
        tables = "CREATE TABLE {long} (key text PRIMARY KEY, number bigint)"

        @folds(MessageSent, table="long", key=lambda event: {"key": str(event.data.text)})
        def sent(self, row: Number | None, event: Recorded[MessageSent]) -> Number:
            return Number(row.number + 1 if row else 1)

    # Random, since an index compresses its texts.
    key = "".join(new_id() for _ in range(300))
    build = await start_build(conn, Long)
    writer = await BuildWriter.open(conn, Long, build)
    await writer.apply(MESSAGING, said((CONVERSATIONS[0], key), (CONVERSATIONS[0], "a"), (CONVERSATIONS[1], key)), 3)
    assert await letters(conn, build) == [(1, "failed"), (3, "parked")]
    (head,) = await queries.list_heads(conn, Long.name)
    assert head.waiting == 1


async def test_a_dead_letter_that_is_folded_into_another_row_now_is_not_retried(
    streams: Client, writer: Writer, run: Opened, conn: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    runners = await run(ByLength)
    monkeypatch.setattr(ByLength, "refused", 1.0)
    last = await writer.say(CONVERSATIONS[0], "a", "bb")
    await runners.waiting.wait(ByLength, Position.at(MESSAGING, last), PATIENCE)
    monkeypatch.setattr(ByLength, "refused", None)
    monkeypatch.setattr(ByLength, "longer_by", 1)
    with pytest.raises(CannotFoldAgain, match=rf"MESSAGING {last - 1} is folded into another row now"):
        await Operator(conn, streams, ByLength).retry()
    assert await rows(conn, "SELECT length, number FROM by_length_v1") == [(2.0, 1)]
    monkeypatch.setattr(ByLength, "longer_by", 0)
    assert await Operator(conn, streams, ByLength).retry() == [("applied", 1, 0)]


class Operator:
    """Retries and discards of the projection's dead letters."""

    def __init__(self, conn: Connection, nc: Client, projection: type[Projection] = Tallies) -> None:
        self._conn = conn
        self._log = Log(nc)
        self._projection = projection

    async def retry(self) -> list[tuple[str, int, int]]:
        heads = await resolution.first_failures(self._conn, self._projection)
        retried = [await resolution.retry(self._conn, self._log, self._projection, head) for head in heads]
        return [(each.outcome, each.applied, each.left) for each in retried]

    async def discard(self) -> None:
        (head,) = await resolution.first_failures(self._conn, self._projection)
        await resolution.discard(self._conn, self._log, head, "it was a test", "an operator")
        await resolution.retry(self._conn, self._log, self._projection, head)


async def test_a_retry_folds_its_row_again_and_the_runner_continues_in_order(
    streams: Client,
    writer: Writer,
    run: Opened,
    conn: Connection,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(resolution, "PAGE", 2)
    runners = await run(Tallies)
    bad, good, _ = CONVERSATIONS

    async def texts(last: int) -> dict[object, object]:
        await runners.waiting.wait(Tallies, Position.at(MESSAGING, last), PATIENCE)
        return {row[0]: (row[1], row[2]) for row in await rows(conn, TALLIES.format("tallies_v1"))}

    await writer.say(bad, "a", "b", POISON, "c", POISON, "d", "e")
    assert await texts(await writer.say(good, "x")) == {bad: (2, ["a", "b"]), good: (1, ["x"])}
    operator = Operator(conn, streams)
    assert await operator.retry() == [("failed", 0, 5)]
    await operator.discard()
    assert await texts(0) == {bad: (3, ["a", "b", "c"]), good: (1, ["x"])}
    # What an earlier state of the code has made of the row is folded again too.
    await conn.execute("UPDATE tallies_v1 SET messages = 100 WHERE conversation_id = %s", (bad,))
    monkeypatch.setattr(sample_folds, "POISON", "no message says this")
    assert await operator.retry() == [("applied", 3, 0)]
    assert await texts(await writer.say(bad, "f")) == {bad: (7, ["d", "e", "f"]), good: (1, ["x"])}
    assert (await verify(Tallies, streams, database_url)).equal
    await rebuild(Tallies, streams, database_url)
    assert await texts(0) == {bad: (7, ["d", "e", "f"]), good: (1, ["x"])}


async def test_a_retry_folds_nothing_from_before_the_projection_began(
    streams: Client,
    writer: Writer,
    run: Opened,
    conn: Connection,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Late(Tallies):
        name = "tallies"
        begin = "now"

    (conversation, *_) = CONVERSATIONS
    await writer.say(conversation, "before", "before")
    runners = await run(Late)
    async with asyncio.timeout(PATIENCE):
        while not runners.ready():
            await asyncio.sleep(0.01)
    last = await writer.say(conversation, "a", POISON, "b")
    await runners.waiting.wait(Late, Position.at(MESSAGING, last), PATIENCE)
    monkeypatch.setattr(sample_folds, "POISON", "no message says this")
    assert await Operator(conn, streams, Late).retry() == [("applied", 2, 0)]
    assert [row[1] for row in await rows(conn, TALLIES.format("tallies_v1"))] == [3]
    assert (await verify(Late, streams, database_url)).equal


async def test_a_row_wider_than_an_aggregate_waits_and_is_folded_again_over_all_of_them(
    streams: Client,
    writer: Writer,
    run: Opened,
    conn: Connection,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runners = await run(Tallies)
    one, other, third = CONVERSATIONS
    for conversation, sequence in ((one, 1), (other, 13), (one, 2), (third, 3)):
        last = await writer.append(subjects.read_mark(conversation, RECIPIENT), seen(conversation, sequence))
    await runners.waiting.wait(Tallies, Position.at(MESSAGING, last), PATIENCE)
    query = f"SELECT marks, conversation_id::text FROM {Tallies.view('readers')}"
    assert await rows(conn, query) == [(1, one)]
    assert [
        state for _, state in await rows(conn, "SELECT sequence, state FROM projection_dead_letters ORDER BY 1")
    ] == [
        "failed",
        "parked",
        "parked",
    ]
    await Operator(conn, streams).discard()
    assert await rows(conn, query) == [(3, third)]
    assert (await verify(Tallies, streams, database_url)).equal
    async with as_of.opened(streams, database_url, "past", datetime.now(UTC)) as past:
        built = await past.build(Tallies)
        await past.publish()
    assert built.dead_letters == 0
    assert await rows(conn, "SELECT marks, conversation_id::text FROM past.readers") == [(3, third)]


async def test_two_runners_one_of_which_is_killed_again_and_again_fold_every_event_once(
    nats_server: NatsServer, streams: Client, writer: Writer, conn: Connection, database_url: str
) -> None:
    async def start() -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.integration.projections.sample_folds", nats_server.url, database_url
        )

    async def reached() -> int:
        found = await rows(
            conn,
            "SELECT coalesce(max(c.sequence), 0) FROM projection_checkpoints AS c"
            " JOIN projection_builds AS b USING (projection, version, build) WHERE b.state = 'live'",
        )
        return int(str(found[0][0]))

    workers = [await start(), await start()]
    try:
        last = 0
        for killed in range(4):
            for number in range(10):
                last = await writer.say(CONVERSATIONS[number % 3], *(f"text {place}" for place in range(20)))
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
