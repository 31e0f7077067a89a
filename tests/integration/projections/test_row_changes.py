"""In PostgreSQL, row changes give the rows of a plain model in Python, however they are cut into batches."""

import asyncio
import re
import textwrap
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.subjects import MESSAGING
from contracts.values.personal_data import plaintext_or_none
from projections.engine import Projection, RowChanges
from projections.engine.apply.change_plans import Shapes
from projections.engine.apply.row_merging import MergedRows
from projections.engine.apply.statements import statement
from projections.engine.rebuild.cutover import start_build
from projections.engine.storage import tables
from projections.engine.storage.builds import Connection
from projections.engine.storage.connections import connect
from projections.engine.storage.pg_text import MOMENTS
from projections.engine.storage.schema import ensure_schema
from projections.engine.storage.tables import Table
from tests.row_model import COLUMNS, DDL, Call, Model, calls, say

HOWTO = Path(__file__).parents[3] / "docs" / "howto" / "add-a-read-model.md"


class Rows(Projection):
    streams = (MESSAGING,)
    tables = DDL


class Database:
    """A table in PostgreSQL, and a loop for tests that Hypothesis calls many times."""

    def __init__(self, database_url: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._conn, self._tables = self._loop.run_until_complete(_opened(database_url))
        self._shapes = Shapes(self._tables)

    def rows_after(self, batches: Sequence[Sequence[Call]]) -> dict[tuple[object, ...], dict[str, object]]:
        """The rows of the empty table after these batches, by key."""
        return self._loop.run_until_complete(self._rows_after(batches))

    async def _rows_after(self, batches: Sequence[Sequence[Call]]) -> dict[tuple[object, ...], dict[str, object]]:
        async with self._conn.transaction(force_rollback=True):
            for batch in batches:
                merged = MergedRows(self._shapes)
                for call in batch:
                    write = RowChanges()
                    say(write, call)
                    merged.merge(write.changes)
                for group in merged.groups():
                    await self._conn.execute(*statement(group))
            names = ", ".join(COLUMNS)
            cursor = await self._conn.execute(f"SELECT a, b, {names} FROM {self._tables['rows'].physical}".encode())
            return {row[:2]: dict(zip(COLUMNS, row[2:], strict=True)) for row in await cursor.fetchall()}

    def close(self) -> None:
        self._loop.run_until_complete(self._conn.close())
        self._loop.close()


async def _opened(database_url: str) -> tuple[Connection, dict[str, Table]]:
    conn = await connect(database_url, "row changes")
    await ensure_schema(conn)
    build = await start_build(conn, Rows)
    return conn, await tables.inspect(conn, Rows, build)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = Database(database_url)
    yield opened
    opened.close()


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=st.lists(st.lists(calls(), min_size=1, max_size=6), max_size=4))
def test_every_batching_gives_the_rows_of_the_model(database: Database, batches: list[list[Call]]) -> None:
    model, said = Model(), [call for batch in batches for call in batch]
    for call in said:
        model.apply(*call)
    assert database.rows_after(batches) == model.rows
    assert database.rows_after([said]) == model.rows
    assert database.rows_after([[call] for call in said]) == model.rows


_clock = st.tuples(st.integers(0, 3), st.sampled_from(["contact", "messaging"]), st.sampled_from(["x", "y", "z"]))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), happened=st.lists(_clock, max_size=8, unique_by=lambda one: one[:2]))
def test_of_two_streams_the_last_writer_by_the_clock_wins_in_any_interleaving(
    database: Database, data: st.DataObject, happened: list[tuple[int, str, str]]
) -> None:
    said: list[Call] = [
        ("upsert", {"key": {"a": 1, "b": 1}, "greatest_by": ({"at": at, "tie": stream}, {"said": said})})
        for at, stream, said in data.draw(st.permutations(happened))
    ]
    cut = data.draw(st.integers(0, len(said)))
    last = max(happened, default=None)
    (row,) = database.rows_after([said[:cut], said[cut:]]).values() or (None,)
    assert (row and (row["at"], row["tie"], row["said"])) == last


def test_the_text_of_the_latest_message_is_written_as_the_how_to_shows() -> None:
    text = HOWTO.read_text("utf-8")
    (shown,) = re.findall(r"^  ```python\n(  write.upsert.*?)^  ```", text, re.DOTALL | re.MULTILINE)
    types = {"conversation_id": "uuid", "sent_at": MOMENTS, "sequence": "bigint", "text": "text"}
    table = Table("conversations", "conversations_v1_b1", ("conversation_id",), types)
    merged = MergedRows(Shapes({"conversations": table}))
    for sequence, minute in ((1, 7), (2, 9), (3, 8)):
        at, data = datetime(2026, 1, 31, 12, minute, tzinfo=UTC), SimpleNamespace(text=f"text {sequence}")
        event = SimpleNamespace(aggregate_id="a", at=at, sequence=sequence, data=data)
        write = RowChanges()
        exec(textwrap.dedent(shown), {"write": write, "event": event, "plaintext_or_none": plaintext_or_none})
        merged.merge(write.changes)
    (group,) = merged.groups()
    assert [values[-1] for values in group.values] == ["text 2"]
