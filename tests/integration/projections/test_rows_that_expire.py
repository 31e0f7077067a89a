"""Rows with an end: no reader sees them from then on, and whether they were removed makes no difference to anything."""

import asyncio
import importlib
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar, cast

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nats.aio.client import Client

from contracts import subjects
from contracts.envelope import Provenance, Recorded, now, seal
from contracts.events.message import MessageSent
from contracts.positions import Position
from contracts.subjects import MESSAGING
from contracts.values.ids import new_id
from projections.engine import Projection, RowChanges, folds, handles, row_of
from projections.engine.apply.build_writer import BuildWriter
from projections.engine.apply.merging.change_plans import Shapes
from projections.engine.apply.merging.row_merging import MergedRows
from projections.engine.apply.writing.statements import statement
from projections.engine.inspection import as_of
from projections.engine.inspection.verify import verify
from projections.engine.reading.stream_sources import Sources
from projections.engine.rebuild.cutover import start_build
from projections.engine.rebuild.rebuild import rebuild
from projections.engine.running import sweeper
from projections.engine.storage import ended_rows, tables
from projections.engine.storage.builds import Connection
from projections.engine.storage.connections import connect
from projections.engine.storage.schema import ensure_schema
from projections.engine.storage.tables import BadTables, Table
from streams.log import Append, Log
from tests.fix_postgres import Pool
from tests.fix_read_models import OpenReadModel
from tests.integration.projections.event_writer import PATIENCE, RECIPIENT, SENDER, Opened, Writer, conversation_ids
from tests.row_model import COLUMNS, DDL, Call, Model, calls, say

HOWTO = Path(__file__).parents[3] / "docs" / "howto" / "rows-that-expire.md"
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
# A call, the hour of its event, and the argument that writes the end with the hours from then to the end.
Timed = tuple[Call, int, str | None, int | None]


class Ending(Projection):
    streams = (MESSAGING,)
    tables = DDL.replace("state text,", "state text, ends timestamptz,")
    expires: ClassVar[Mapping[str, str]] = {"rows": "ends"}


class Database:
    """A table whose rows end, in PostgreSQL, and a loop for tests that Hypothesis calls many times."""

    def __init__(self, database_url: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._conn, self._table = self._loop.run_until_complete(_opened(database_url))
        self._shapes = Shapes({"rows": self._table})

    def rows_after(self, batches: Sequence[Sequence[Timed]], *, sweeps: bool) -> dict[Any, dict[str, Any]]:
        return self._loop.run_until_complete(self._rows_after(batches, sweeps=sweeps))

    async def _rows_after(self, batches: Sequence[Sequence[Timed]], *, sweeps: bool) -> dict[Any, dict[str, Any]]:
        async with self._conn.transaction(force_rollback=True):
            for batch in batches:
                if sweeps and batch:
                    await ended_rows.remove_until(self._conn, self._table, hour(batch[0][1]))
                merged = MergedRows(self._shapes)
                for call, at, argument, lasts in batch:
                    write = RowChanges()
                    say(write, ending(call, at, argument, lasts))
                    merged.merge(write.changes, "", hour(at))
                for group in merged.groups():
                    await self._conn.execute(*statement(group))
            names = ", ".join((*COLUMNS, "ends"))
            cursor = await self._conn.execute(f"SELECT a, b, {names} FROM {self._table.physical}".encode())
            return {row[:2]: dict(zip((*COLUMNS, "ends"), row[2:], strict=True)) for row in await cursor.fetchall()}

    def close(self) -> None:
        self._loop.run_until_complete(self._conn.close())
        self._loop.close()


async def _opened(database_url: str) -> tuple[Connection, Table]:
    conn = await connect(database_url, "row changes")
    await ensure_schema(conn)
    build = await start_build(conn, Ending)
    return conn, (await tables.inspect(conn, Ending, build))["rows"]


def hour(number: int) -> datetime:
    return NOON + number * HOUR


def ending(call: Call, at: int, argument: str | None, lasts: int | None) -> Call:
    """The call with the end of the row, where it can write one."""
    method, arguments = call
    if argument is None or method in ("delete", "delete_all") or (method == "insert" and argument != "set"):
        return call
    end = None if lasts is None else hour(at + lasts)
    return method, {**arguments, argument: {**arguments.get(argument, {}), "ends": end}}


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = Database(database_url)
    yield opened
    opened.close()


def rows_of_model(said: Sequence[Timed]) -> dict[Any, dict[str, Any]]:
    model = Model((*COLUMNS, "ends"))
    for call, at, argument, lasts in said:
        key = call[1]["key"]
        row = model.rows.get((key.get("a"), key.get("b")))
        if row is not None and row["ends"] is not None and row["ends"] <= hour(at) and call[0] != "delete_all":
            del model.rows[key["a"], key["b"]]
        model.apply(*ending(call, at, argument, lasts))
    return model.rows


_timed = st.tuples(
    calls(),
    st.integers(0, 2),
    st.sampled_from(["set", "set", "greatest", "least", None]),
    st.none() | st.integers(0, 3),
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.lists(_timed, min_size=1, max_size=5), max_size=4))
def test_no_batching_and_no_sweep_makes_a_difference(database: Database, steps: list[list[Timed]]) -> None:
    at, batches = 0, []
    for step in steps:
        batch: list[Timed] = []
        for call, later, argument, lasts in step:
            at += later
            batch.append((call, at, argument, lasts))
        batches.append(batch)
    said = [timed for batch in batches for timed in batch]

    def lasting(rows: dict[Any, dict[str, Any]]) -> dict[Any, dict[str, Any]]:
        return {key: row for key, row in rows.items() if row["ends"] is None or row["ends"] > hour(at)}

    model = rows_of_model(said)
    assert database.rows_after(batches, sweeps=False) == model
    assert database.rows_after([said], sweeps=False) == model
    assert database.rows_after([[timed] for timed in said], sweeps=False) == model
    assert lasting(database.rows_after(batches, sweeps=True)) == lasting(model)
    assert lasting(database.rows_after([[timed] for timed in said], sweeps=True)) == lasting(model)


class Notes(Projection):
    """One row for each conversation; a text is the number of minutes until it ends, from its message on."""

    streams = (MESSAGING,)
    expires: ClassVar[Mapping[str, str]] = {"notes": "ends_at"}
    tables = """
        CREATE TABLE {notes} (
            conversation_id uuid PRIMARY KEY, ends_at timestamptz, messages bigint NOT NULL DEFAULT 0
        );
        CREATE VIEW {number} AS SELECT count(*) AS notes FROM {notes};
        CREATE FUNCTION {all_messages}() RETURNS numeric LANGUAGE sql STABLE AS $$ SELECT sum(messages) FROM {notes} $$;
    """

    @handles(MessageSent)
    def sent(self, event: Recorded[MessageSent], write: RowChanges) -> None:
        minutes = int(event.data.text or "0")
        write.upsert(
            "notes",
            key={"conversation_id": event.aggregate_id},
            add={"messages": 1},
            set={"ends_at": event.at + timedelta(minutes=minutes)},
        )


SHOWN = "SELECT (SELECT count(*) FROM notes_v1), (SELECT notes FROM notes_number_v1), notes_all_messages_v1()"
STORED = "SELECT count(*) FROM notes_v1_b1"


async def one(pool: Pool, query: str) -> tuple[object, ...]:
    async with pool.connection() as conn:
        row = await (await conn.execute(query.encode())).fetchone()
    assert row is not None
    return row


async def until(pool: Pool, query: str, row: tuple[object, ...]) -> None:
    async with asyncio.timeout(PATIENCE):
        while await one(pool, query) != row:
            await asyncio.sleep(0.02)


async def test_a_row_is_hidden_at_its_end_and_removed_later_and_every_build_agrees(
    streams: Client, writer: Writer, run: Opened, pool: Pool, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeper, "_PAUSE_SECONDS", 0.0)
    long_over, over, lasts = conversation_ids(3)
    # It ends three hours before its message.
    await writer.say(long_over, "-180")
    await writer.say(over, "0")
    last = await writer.say(lasts, "60", "60")
    runners = await run(Notes)
    await runners.waiting.wait(Notes, Position.at(MESSAGING, last), PATIENCE)
    assert await one(pool, SHOWN) == (1, 1, 2)
    await until(pool, STORED, (2,))
    verdict = await verify(Notes, streams, database_url)
    assert (verdict.equal, verdict.rows) == (True, 1)
    # An event that comes after the end begins with a new row, whether the old one is there or not.
    await writer.say(over, "60")
    last = await writer.say(long_over, "60")
    await runners.waiting.wait(Notes, Position.at(MESSAGING, last), PATIENCE)
    assert await one(pool, SHOWN) == (3, 3, 4)
    assert (await verify(Notes, streams, database_url)).equal
    await rebuild(Notes, streams, database_url)
    assert await one(pool, SHOWN) == (3, 3, 4)


async def test_events_that_were_imported_find_the_rows_that_they_found_before(
    streams: Client, run: Opened, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeper, "_PAUSE_SECONDS", 0.0)
    # Each event in a batch of its own, with a sweep in between.
    monkeypatch.setitem(cast(dict[str, Any], Sources.__init__.__kwdefaults__), "limit", 1)
    runners = await run(Notes)
    async with asyncio.timeout(PATIENCE):
        while not runners.ready():
            await asyncio.sleep(0.02)
    await runners.stop()
    begun = now() - timedelta(days=3)
    (conversation,) = conversation_ids(1)
    last = 0
    for version, minutes in enumerate(("60", "60", "60", "9999"), start=1):
        last = await said(streams, conversation, version, last, minutes, begun + version * timedelta(minutes=30))
    runners = await run(Notes)
    await runners.waiting.wait(Notes, Position.at(MESSAGING, last), PATIENCE)
    assert await one(pool, SHOWN) == (1, 1, 4)


async def test_the_past_has_the_rows_that_had_not_ended_then(streams: Client, pool: Pool, database_url: str) -> None:
    begun = now() - timedelta(days=1)
    for conversation, minutes in zip(conversation_ids(2), ("5", "30"), strict=True):
        await said(streams, conversation, 1, 0, minutes, begun)
    for passed, notes in ((1, 2), (10, 1), (60, 0)):
        async with as_of.opened(
            streams, database_url, "then", begun + timedelta(minutes=passed), replace=True
        ) as state:
            built = await state.build(Notes)
            await state.publish()
        assert built.tables == {"notes": notes}
        assert await one(pool, 'SELECT count(*), (SELECT notes FROM "then".number) FROM "then".notes') == (notes, notes)


async def test_nothing_is_removed_while_an_event_waits_that_could_not_be_applied(
    streams: Client, writer: Writer, run: Opened, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeper, "_PAUSE_SECONDS", 0.0)
    asked = asyncio.Event()
    sweep = sweeper.Sweeper.sweep

    async def observed(self: sweeper.Sweeper, *about: Any) -> None:  # noqa: ANN401 - whatever the runner says
        await sweep(self, *about)
        asked.set()

    monkeypatch.setattr(sweeper.Sweeper, "sweep", observed)
    wrong, over = conversation_ids(2)
    await writer.say(wrong, "no number")
    last = await writer.say(over, "-180")
    runners = await run(Notes)
    await runners.waiting.wait(Notes, Position.at(MESSAGING, last), PATIENCE)
    for _ in range(2):
        asked.clear()
        await asyncio.wait_for(asked.wait(), PATIENCE)
    assert await one(pool, STORED) == (1,)
    async with pool.connection() as conn:
        await conn.execute("DELETE FROM projection_dead_letters")
        await conn.execute("UPDATE projection_builds SET letters_revision = letters_revision + 1")
    await until(pool, STORED, (0,))


async def test_rows_are_kept_as_long_as_an_earlier_event_may_come(database_url: str) -> None:
    conn, table = await _opened(database_url)
    async with conn:
        insert = f"INSERT INTO {table.physical} (a, b, ends) VALUES (1, %s, now() - %s * interval '1 minute')"
        for minutes in (59, 61, 180):
            await conn.execute(insert.encode(), (minutes, minutes))
        # The first event that has not been applied was stored an hour ago.
        assert await ended_rows.remove(conn, table, datetime.now(UTC) - HOUR) == 1
        assert await ended_rows.remove(conn, table, datetime.now(UTC)) == 1
        cursor = await conn.execute(f"SELECT b FROM {table.physical}".encode())
        assert await cursor.fetchall() == [(59,)]


class Streak(msgspec.Struct):
    messages: int
    ends_at: datetime | None


class Streaks(Projection):
    """How many messages a conversation has had without a pause of an hour."""

    streams = (MESSAGING,)
    expires: ClassVar[Mapping[str, str]] = {"streaks": "ends_at"}
    tables = "CREATE TABLE {streaks} (conversation_id uuid PRIMARY KEY, messages bigint, ends_at timestamptz)"

    @folds(MessageSent, table="streaks", key="conversation_id")
    def counted(self, row: Streak | None, event: Recorded[MessageSent]) -> Streak | None:
        return Streak(1 if row is None else row.messages + 1, event.at + HOUR)


async def test_a_fold_finds_no_row_that_has_ended(read_model: OpenReadModel) -> None:
    model = await read_model(Streaks)
    for minutes in (0, 30, 60, 119, 179, 180):
        await model.when(sent(SENDER), at=NOON + timedelta(minutes=minutes))
    # The harness shows what readers see.
    assert await model.rows("SELECT messages FROM {streaks}") == []
    later = now() - timedelta(minutes=10)
    await model.given(*[sent(SENDER)] * 3, at=later)
    assert await model.rows("SELECT messages FROM {streaks}") == [(3,)]


class Unique(Notes):
    tables = f"{Notes.tables} CREATE UNIQUE INDEX ON {{notes}} (messages);"


class UniqueColumn(Notes):
    tables = Notes.tables.replace("messages bigint", "messages bigint UNIQUE")


class Referred(Notes):
    tables = f"{Notes.tables} CREATE TABLE {{other}} (id uuid PRIMARY KEY REFERENCES {{notes}});"


class Endless(Streaks):
    expires: ClassVar[Mapping[str, str]] = {"streaks": "until"}


class Undated(Notes):
    tables = Notes.tables.replace("ends_at timestamptz", "ends_at date")


class Counted(Notes):
    tables = f"""{Notes.tables}
        CREATE FUNCTION {{f}}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
        CREATE TRIGGER t AFTER INSERT ON {{notes}} FOR EACH STATEMENT EXECUTE FUNCTION {{f}}();
    """


class Unknown(Notes):
    expires: ClassVar[Mapping[str, str]] = {"letters": "ends_at"}


class LookedUp(Notes):
    @handles(MessageSent, before=row_of("notes", Streak, key=lambda event: {"conversation_id": event.aggregate_id}))
    def looked(self, event: Recorded[MessageSent], write: RowChanges, before: Streak | None) -> None: ...


class OddlyNamed(Notes):
    expires: ClassVar[Mapping[str, str]] = {"notes": "end"}
    tables = """CREATE TABLE {notes} (
        id uuid PRIMARY KEY, "end" timestamptz, price numeric(4, 1), "second" timestamptz(0), ratio real, exact numeric
    )"""


async def test_a_column_may_have_a_name_that_needs_quotes_and_one_that_rounds_is_known(database_url: str) -> None:
    conn = await connect(database_url, "test")
    async with conn:
        await ensure_schema(conn)
        build = await start_build(conn, OddlyNamed)
        assert await tables.add_indexes(conn, OddlyNamed, build)
        assert (await tables.inspect(conn, OddlyNamed, build))["notes"].rounded == {"price", "second", "ratio"}


async def test_what_cannot_end_is_refused(database_url: str) -> None:
    with pytest.raises(ValueError, match="a table whose rows end has no trigger"):
        Counted.check()
    with pytest.raises(ValueError, match="expires names letters"):
        Unknown.check()
    with pytest.raises(ValueError, match="a table whose rows end has no unique index"):
        Unique.check()
    with pytest.raises(ValueError, match=r"the rows of \{streaks\} end at until, which Streak has to have"):
        Endless.check()
    conn = await connect(database_url, "test")
    async with conn:
        await ensure_schema(conn)
        with pytest.raises(BadTables, match="notes has no column ends_at of type timestamptz"):
            await start_build(conn, Undated)
        with pytest.raises(BadTables, match=r"the rows of notes end.*; it has a unique index"):
            await start_build(conn, UniqueColumn)
        with pytest.raises(BadTables, match=r"the rows of notes end.*; it has a foreign key"):
            await start_build(conn, Referred)
        with pytest.raises(BadTables, match="the rows of notes end, so they cannot be looked up"):
            await BuildWriter.open(conn, LookedUp, await start_build(conn, LookedUp))


@pytest.fixture
def documented(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> type[Projection]:
    """The projection of the how-to, which begins with its file's name."""
    (source,) = re.findall(
        r"```python\n# projections/recent_activity.py\n(.*?)```", HOWTO.read_text("utf-8"), re.DOTALL
    )
    (tmp_path / "recent_activity.py").write_text(source, "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    return cast(type[Projection], importlib.import_module("recent_activity").RecentActivity)


def _queries() -> Mapping[str, str]:
    blocks = re.findall(r"```sql\n(.*?)```", HOWTO.read_text("utf-8"), re.DOTALL)
    return {name: query for block in blocks for name, query in re.findall(r"-- (.*)\n([^-]*)", block)}


async def test_the_recipe_of_the_last_30_days_works(read_model: OpenReadModel, documented: type[Projection]) -> None:
    model = await read_model(documented)
    anna, boris, olga = sorted(new_id() for _ in range(3))
    today = now()
    for sender, days in ((anna, 29), (boris, 31), (olga, 3), (anna, 1), (anna, 0)):
        await model.when(sent(sender), at=today - timedelta(days=days))
    assert await model.rows(f"{_queries()['who was active']} ORDER BY 1") == [(anna,), (olga,)]
    assert await model.rows(_queries()["how many were active"]) == [(2,)]
    counts = await model.rows(f"{_queries()['how many messages each has sent']} ORDER BY 1")
    assert [(user, int(str(number))) for user, number in counts] == [(anna, 3), (olga, 1)]


def sent(sender_id: str) -> MessageSent:
    return MessageSent(
        message_id=new_id(), sender_id=sender_id, recipient_id=RECIPIENT, sequence=1, text="Hi", client_message_id="1"
    )


async def said(streams: Client, conversation: str, version: int, expected: int, minutes: str, at: datetime) -> int:
    """Appends a message of the past to a conversation; returns its sequence in the stream."""
    message = MessageSent(
        message_id=new_id(),
        sender_id=SENDER,
        recipient_id=RECIPIENT,
        sequence=version,
        text=minutes,
        client_message_id=str(version),
    )
    envelope = seal(message, aggregate_id=conversation, version=version, provenance=Provenance(), at=at)
    return await Log(streams).append(
        Append(subject=subjects.conversation(conversation), expected=expected, envelope=envelope)
    )
