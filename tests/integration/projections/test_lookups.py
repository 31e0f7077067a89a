"""A handler sees the rows that it looks up as they are at its event, however the events are batched."""

import asyncio
from collections.abc import Mapping
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.envelope import Recorded
from contracts.events.message import MessageSent
from contracts.subjects import MESSAGING
from projections.engine import Projection, RowChanges, handles, row_of, rows_of
from projections.engine.apply.build_writer import BuildWriter
from projections.engine.rebuild.cutover import drop_build, start_build
from projections.engine.storage.builds import Connection
from streams.message import Message
from tests.integration.projections.event_writer import PATIENCE, RECIPIENT, conversation_ids
from tests.integration.projections.folding import dead_letters, said
from tests.integration.projections.sample_lookups import CONVERSATIONS, Text
from tests.integration.projections.stored_rows import rows

ELSEWHERE = timezone(timedelta(hours=5))


class FullRow(msgspec.Struct):
    """Row type with all columns."""

    part: str
    number: int
    amount: int | None
    total: int | None
    text: str | None
    preset: int
    at: datetime | None
    note: dict[str, int] | None


class ShortRow(msgspec.Struct, frozen=True):
    """Row type with some of the columns; immutable, so that events share its rows."""

    number: int
    text: str | None


class Changed(Projection):
    """Makes the changes that a message's text describes, and records what it looks up."""

    streams = (MESSAGING,)
    tables = """
        CREATE TABLE {changed} (
            part text, number bigint, amount bigint, total bigint, text text COLLATE "C",
            preset bigint NOT NULL DEFAULT 3 + 4, at timestamptz, note jsonb DEFAULT '{"a": 1}',
            unseen text DEFAULT 'unseen', PRIMARY KEY (part, number)
        );
        CREATE TABLE {found} (sequence bigint PRIMARY KEY, one jsonb, part jsonb, brief jsonb)
    """

    @handles(
        MessageSent,
        one=row_of("changed", FullRow, key=lambda event: _changes(event)["key"]),
        part=rows_of("changed", FullRow, key=lambda event: {"part": _changes(event)["key"]["part"]}),
        brief=rows_of("changed", ShortRow, key=lambda event: {"part": _changes(event)["key"]["part"]}),
    )
    def sent(
        self,
        event: Recorded[MessageSent],
        write: RowChanges,
        one: FullRow | None,
        part: list[FullRow],
        brief: list[ShortRow],
    ) -> None:
        write.insert("found", key={"sequence": event.sequence}, set={"one": one, "part": part, "brief": brief})
        change = _changes(event)
        key, action = change["key"], change["action"]
        values = {name: columns for name, columns in change["values"].items() if columns}
        if action == "poison":
            write.upsert("changed", key=key, set={"text": "half"})
            raise ValueError(action)
        if action == "delete_all":
            write.delete_all("changed", key={"part": key["part"]})
        elif action == "delete":
            write.delete("changed", key=key)
        elif action == "insert":
            write.insert("changed", key=key, set=values.get("set"), first=values.get("first"))
        elif action == "update":
            write.update("changed", key=key, **values)
        else:
            write.upsert("changed", key=key, **values)
            write.upsert(
                "changed",
                key={**key, "number": 9},
                set={"at": event.at.astimezone(ELSEWHERE), "note": {"b": event.sequence}},
            )


def _changes(event: Recorded[MessageSent]) -> dict[str, Any]:
    changes: dict[str, Any] = msgspec.json.decode(str(event.data.text))
    return changes


small = st.none() | st.integers(-3, 3)


values = st.fixed_dictionaries(
    {},
    optional={
        "set": st.fixed_dictionaries(
            {}, optional={"text": st.none() | st.sampled_from(["", "x", "ü"]), "preset": st.integers(0, 3)}
        ),
        "add": st.fixed_dictionaries({}, optional={"total": st.integers(-3, 3)}),
        "greatest": st.fixed_dictionaries({}, optional={"amount": small}),
    },
)


other_values = st.fixed_dictionaries(
    {},
    optional={
        "first": st.fixed_dictionaries({}, optional={"text": st.none() | st.sampled_from(["y"])}),
        "least": st.fixed_dictionaries({}, optional={"amount": small, "preset": st.integers(5, 9)}),
        "add": st.fixed_dictionaries({}, optional={"total": st.integers(-3, 3)}),
    },
)


changes = st.fixed_dictionaries(
    {
        "key": st.fixed_dictionaries({"part": st.sampled_from(["a", "b"]), "number": st.integers(1, 2)}),
        "action": st.sampled_from(["upsert", "upsert", "insert", "update", "delete", "delete_all", "poison"]),
        "values": values | other_values,
    }
)


async def test_rows_are_looked_up_as_the_database_would_have_them_at_that_event(conn: Connection) -> None:
    loop = asyncio.get_running_loop()

    async def applied(messages: list[Message], cuts: Mapping[int, bool]) -> tuple[object, ...]:
        build = await start_build(conn, Changed)
        writer = await BuildWriter.open(conn, Changed, build)
        batch = writer.batch()
        for message in messages:
            await writer.add_to_batch(batch, MESSAGING, [message], message.sequence)
            if message.sequence in cuts:
                await writer.commit(batch)
                if cuts[message.sequence]:
                    writer = await BuildWriter.open(conn, Changed, build)
                batch = writer.batch()
        await writer.commit(batch)
        stored_rows = await rows(conn, f"SELECT * FROM {build.table(Changed.view('found'))} ORDER BY 1")
        changed = await rows(conn, f"SELECT * FROM {build.table(Changed.view('changed'))} ORDER BY 1, 2")
        waiting = await dead_letters(conn, build)
        await drop_build(conn, Changed, build)
        return stored_rows, changed, waiting

    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        happened=st.lists(
            st.tuples(st.sampled_from([*CONVERSATIONS, *conversation_ids(3)]), changes), min_size=1, max_size=14
        ),
        cuts=st.dictionaries(st.integers(1, 14), st.booleans(), max_size=4),
    )
    def check(happened: list[tuple[str, dict[str, Any]]], cuts: dict[int, bool]) -> None:
        messages = said(*((conversation, msgspec.json.encode(change).decode()) for conversation, change in happened))
        # One by one, every row is looked up in the database.
        one_by_one, *others = (
            asyncio.run_coroutine_threadsafe(applied(messages, way), loop).result(PATIENCE)
            for way in (dict.fromkeys(range(15), False), {}, cuts)
        )
        assert others == [one_by_one, one_by_one]

    await asyncio.to_thread(check)


class Typed(msgspec.Struct):
    id: str
    text: str
    number: int
    amount: Decimal
    moment: datetime
    day: date | None
    ids: list[str]


class Types(Projection):
    """Writes values of other types than those that are loaded."""

    streams = (MESSAGING,)
    tables = """
        CREATE TABLE {types} (
            id uuid PRIMARY KEY, text text, number bigint, amount numeric DEFAULT 0, moment timestamptz, day date,
            ids uuid[]
        );
        CREATE TABLE {found} (sequence bigint PRIMARY KEY, row jsonb)
    """

    @handles(MessageSent, row=row_of("types", Typed, key=lambda event: {"id": event.aggregate_id.upper()}))
    def sent(self, event: Recorded[MessageSent], write: RowChanges, row: Typed | None) -> None:
        write.insert("found", key={"sequence": event.sequence}, set={"row": row})
        identity = UUID(event.aggregate_id)
        changes: dict[str, Any] = {
            "text": event.sequence,
            "number": Decimal(event.sequence),
            "moment": event.at.astimezone(ELSEWHERE),
            "ids": (identity,),
        }
        if str(event.data.text) == "day":
            changes["day"] = event.at
        write.upsert("types", key={"id": identity}, set=changes, add={"amount": 1})


@pytest.mark.parametrize("size", [1, 3, 100])
async def test_looked_up_values_have_the_types_of_loaded_ones_in_any_batches(conn: Connection, size: int) -> None:
    one, other = CONVERSATIONS
    messages = said((one, "a"), (other, "b"), (one, "c"), (one, "d"), (other, "e"), (one, "f"), (other, "day"))
    build = await start_build(conn, Types)
    writer = await BuildWriter.open(conn, Types, build)
    for start in range(0, len(messages), size):
        part = messages[start : start + size]
        await writer.apply(MESSAGING, part, part[-1].sequence)
    # A day that is a time is refused, since the column would cut it.
    assert await dead_letters(conn, build) == [(7, "failed")]
    table = build.table(Types.view("found"))
    looked_up = [row for (row,) in await rows(conn, f"SELECT row FROM {table} ORDER BY sequence")]
    assert looked_up[:2] == [None, None]
    assert looked_up[3] == {
        "id": one,
        "text": "3",
        "number": 3,
        "amount": "2",
        "moment": "2026-01-31T12:00:03Z",
        "day": None,
        "ids": [one],
    }
    assert len(looked_up) == 6


async def test_a_row_that_the_table_refuses_is_not_seen_by_later_events(conn: Connection) -> None:
    class Checked(Projection):
        streams = (MESSAGING,)
        tables = """
            CREATE TABLE {checked} (id uuid, number bigint, text text CHECK (text <> 'no'), PRIMARY KEY (id, number));
            CREATE TABLE {sizes} (sequence bigint PRIMARY KEY, size bigint)
        """

        @handles(MessageSent, rows=rows_of("checked", Text, key=lambda event: {"id": RECIPIENT}))
        def sent(self, event: Recorded[MessageSent], write: RowChanges, rows: list[Text]) -> None:
            key = {"id": RECIPIENT, "number": event.sequence}
            write.upsert("checked", key=key, set={"text": str(event.data.text)})
            write.insert("sizes", key={"sequence": event.sequence}, set={"size": len(rows)})

    one, other = CONVERSATIONS
    messages = said((one, "a"), (one, "no"), (other, "b"), (one, "c"), (other, "d"))
    build = await start_build(conn, Checked)
    writer = await BuildWriter.open(conn, Checked, build)
    await writer.apply(MESSAGING, messages, 5)
    assert await dead_letters(conn, build) == [(2, "failed"), (4, "parked")]
    table = build.table(Checked.view("sizes"))
    assert await rows(conn, f"SELECT sequence, size FROM {table} ORDER BY 1") == [(1, 0), (3, 1), (5, 2)]
