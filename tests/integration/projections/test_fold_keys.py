"""The key of a folded row: of any type, one row however it is written, and its event waits if the table refuses it."""

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from nats.aio.client import Client

from contracts.envelope import Recorded
from contracts.events.message import MessageSent
from contracts.positions import Position
from contracts.subjects import MESSAGING
from contracts.values.ids import new_id
from projections.engine import Projection, folds
from projections.engine.apply.build_writer import BuildWriter
from projections.engine.dead_letters import queries
from projections.engine.rebuild.cutover import start_build
from projections.engine.storage.builds import Connection
from projections.engine.storage.dead_letters import Counts
from tests.fix_postgres import Pool
from tests.integration.projections.event_writer import PATIENCE, RECIPIENT, Opened, Writer
from tests.integration.projections.folding import BEGINNING, CONVERSATIONS, dead_letters, said
from tests.integration.projections.sample_folds import ByLength, Number
from tests.integration.projections.stored_rows import rows
from tests.integration.projections.test_failing_projections import until_state

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
    assert await dead_letters(conn, build) == [(2, "failed"), (3, "parked"), (4, "parked"), (5, "parked")]


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
    assert await dead_letters(conn, build) == [(2, "failed"), (4, "parked"), (6, "parked")]


async def test_where_the_row_of_an_event_is_unknown_the_projection_fails_until_it_is_known(
    writer: Writer, run: Opened, pool: Pool, streams: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    runners = await run(ByLength)
    last = await writer.say(CONVERSATIONS[0], "a", "", "b")
    status = await until_state(ByLength, "failed", pool, streams)
    assert status.last_error is not None
    assert (
        f"projection by_length: the row that MESSAGING {last - 1} belongs to is unknown: ValueError: details withheld"
        in status.last_error.error
    )
    monkeypatch.setattr(ByLength, "least", 0)
    await runners.waiting.wait(ByLength, Position.at(MESSAGING, last), PATIENCE)
    async with pool.connection() as conn:
        cursor = await conn.execute("SELECT length, number FROM by_length_v1 ORDER BY length")
        assert await cursor.fetchall() == [(0.0, 1), (1.0, 2)]


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
    assert await dead_letters(conn, build) == [(1, "failed"), (3, "parked")]
    (head,) = await queries.list_heads(conn, Long.name)
    assert head.waiting == 1
