"""Columns of types that cut, pad or round what is written have the same rows however the events are batched."""

from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Any
from uuid import UUID

import msgspec
import pytest

from contracts.envelope import Recorded
from contracts.events.message import MessageSent
from contracts.subjects import MESSAGING
from contracts.values.ids import new_id
from projections.engine import Projection, RowChanges, folds, handles, table_of
from projections.engine.rebuild.cutover import start_build
from projections.engine.storage.connections import connect
from projections.engine.storage.schema import ensure_schema
from projections.engine.storage.tables import BadTables
from tests.fix_read_models import OpenReadModel

ANNA, BORIS = new_id(), new_id()


def sent(text: str, sequence: int = 1) -> MessageSent:
    return MessageSent(
        message_id=new_id(), sender_id=ANNA, recipient_id=BORIS, sequence=sequence, text=text, client_message_id="1"
    )


class Countries(Projection):
    streams = (MESSAGING,)
    tables = """
        CREATE TABLE {countries} (code char(2) PRIMARY KEY, codes char(2)[], bits bit(4), messages bigint NOT NULL)
    """

    @handles(MessageSent)
    def sent(self, event: Recorded[MessageSent], write: RowChanges) -> None:
        code = event.data.text
        changed = {"codes": [code, "XX"], "bits": "1010"}
        write.upsert("countries", key={"code": code}, set=changed, add={"messages": 1})


async def test_a_text_of_a_fixed_length_is_written_whole(read_model: OpenReadModel) -> None:
    model = await read_model(Countries)
    await model.given(sent("DE"), sent("DK"), sent("DE"))
    assert await model.rows("SELECT code, codes, bits::text, messages FROM {countries} ORDER BY code") == [
        ("DE", ["DE", "XX"], "1010", 2),
        ("DK", ["DK", "XX"], "1010", 1),
    ]


class Sums(Projection):
    streams = (MESSAGING,)
    tables = """
        CREATE TABLE {sums} (
            id uuid PRIMARY KEY, rounded numeric(10, 2), whole numeric(10, 2), inexact double precision, exact numeric
        )
    """

    @handles(MessageSent)
    def sent(self, event: Recorded[MessageSent], write: RowChanges) -> None:
        number = Decimal(event.data.text)
        added = {"rounded": number, "whole": 1, "inexact": number, "exact": number}
        write.upsert("sums", key={"id": event.aggregate_id}, add=added)


async def test_a_sum_is_rounded_after_every_event(read_model: OpenReadModel) -> None:
    model = await read_model(Sums)
    await model.given(*[sent("0.104")] * 3)
    rows = await model.rows("SELECT rounded, whole, inexact, exact FROM {sums}")
    assert rows == [(Decimal("0.30"), Decimal("3.00"), 0.104 + 0.104 + 0.104, Decimal("0.312"))]


class Total(msgspec.Struct):
    number: int = 0
    texts: set[str] = set()


class Totals(Projection):
    streams = (MESSAGING,)
    tables = table_of("totals", Total, key={"id": "uuid"}, columns={"number": "numeric", "texts": "jsonb"})

    @folds(MessageSent, table="totals", key="id")
    def sent(self, row: Total | None, event: Recorded[MessageSent]) -> Total:
        row = row or Total()
        row.number += 2**64
        row.texts.add(event.data.text)
        return row


async def test_an_integer_of_any_size_and_a_set_are_folded(read_model: OpenReadModel) -> None:
    model = await read_model(Totals)
    await model.given(sent("b"), sent("a"))
    await model.when(sent("c"), sent("a"))
    assert await model.rows("SELECT number, texts FROM {totals}") == [(Decimal(4 * 2**64), ["a", "b", "c"])]


class State(str, Enum):  # noqa: UP042 - whose texts are not its values
    OPEN = "open"
    SHUT = "shut"


class Grade(IntEnum):
    LOW = 1
    HIGH = 2


class Kind(Enum):
    EVEN = "even"
    ODD = "odd"


class Part(msgspec.Struct):
    day: date
    state: State


class Everything(msgspec.Struct):
    """A field of each type, some of them named by words that SQL reserves."""

    order: int
    user: State
    group: Grade
    kind: Kind
    is_even: bool
    share: float
    exact: Decimal
    end: datetime
    day: date
    took: timedelta
    peer: UUID
    payload: bytes
    texts: list[str | None]
    numbers: tuple[int, ...]
    flags: list[bool]
    moments: list[datetime]
    parts: list[Part]
    counts: dict[int, int]
    select: str | None = None
    before: list[str] | None = None


def _as_text(row: Everything) -> list[str]:
    # Times in lists have another object for UTC.
    names = [name for name in row.__struct_fields__ if name not in ("moments", "before")]
    return [repr(getattr(row, name)) for name in names] + list(map(str, row.moments))


class Folded(Projection):
    """Each row says what its fields were when it was read, beside the new values."""

    streams = (MESSAGING,)
    tables = table_of("folded", Everything, key={"table": "text", "when": "date"})

    @folds(MessageSent, table="folded", key=lambda event: {"table": event.data.text, "when": event.at})
    def sent(self, row: Everything | None, event: Recorded[MessageSent]) -> Everything:
        number = event.sequence if row is None else row.order + 1
        before = None if row is None else _as_text(row)
        return Everything(
            order=number,
            user=(State.OPEN, State.SHUT)[number % 2],
            group=(Grade.LOW, Grade.HIGH)[number % 2],
            kind=(Kind.EVEN, Kind.ODD)[number % 2],
            is_even=not number % 2,
            share=number / 3,
            exact=Decimal(number) / 7,
            end=event.at,
            day=event.at.date(),
            took=timedelta(days=number, microseconds=1),
            peer=UUID(int=number),
            payload=bytes([number, 0, 92, 34]),
            texts=["a,b", None, '"', "\\", "NULL", ""],
            numbers=tuple(range(number)),
            flags=[True, False],
            moments=[event.at],
            parts=[Part(event.at.date(), State.SHUT)],
            counts={number: number},
            before=before,
        )


async def test_a_field_of_any_type_and_name_is_folded(read_model: OpenReadModel) -> None:
    model = await read_model(Folded)
    await model.given(*[sent(text) for text in ("a", "b", "a", "a", "b")])
    await model.when(*[sent(text) for text in ("a", "b")])
    folded_rows = await model.rows('SELECT "table", "order", "user", "group", kind FROM {folded} ORDER BY "table"')
    assert folded_rows == [("a", 4, "open", 1, "even"), ("b", 4, "open", 1, "even")]


class Changed(Projection):
    streams = (MESSAGING,)
    tables = """
        CREATE TABLE {changed} (
            "order" text, "a ""b"" c" boolean, "Größe" bigint, "select" text, "where state" text, "when" timestamptz,
            "from" jsonb, "to" text[], "in" bytea, "user" bigint DEFAULT 0, PRIMARY KEY ("order", "a ""b"" c")
        )
    """

    @handles(MessageSent)
    def sent(self, event: Recorded[MessageSent], write: RowChanges) -> None:
        number, text = event.data.sequence, event.data.text
        key: dict[str, Any] = {"order": "x", 'a "b" c': number % 2 == 0}
        write.upsert(
            "changed",
            key=key,
            set={"from": {"n": number}, "to": [text, None], "in": b"\\x"},
            add={"user": 1},
            greatest={"Größe": number},
            greatest_by=({"when": event.at}, {"select": text}),
        )
        write.update("changed", key=key, set={"where state": text}, where={"where state": None, "select": text})
        if text == "end":
            write.delete_all("changed", key={"order": "x"})


async def test_a_column_is_written_whatever_its_name_is(read_model: OpenReadModel) -> None:
    model = await read_model(Changed)
    await model.given(*[sent(str(number), number) for number in (1, 2, 3)])
    await model.when(sent("4", 4), sent("5", 5))
    assert await model.rows("SELECT * FROM {changed} ORDER BY 2") == [
        ("x", False, 5, "5", "1", *_read(5), 3),
        ("x", True, 4, "4", "2", *_read(4), 2),
    ]
    await model.given(sent("end", 6), sent("7", 7))
    assert await model.rows('SELECT "Größe", "user" FROM {changed}') == [(7, 1)]


def _read(number: int) -> tuple[object, ...]:
    at = datetime.fromisoformat(f"2026-01-31T12:00:0{number - 1}Z")
    return at, {"n": number}, [str(number), None], b"\\x"


class Percent(Projection):
    streams = (MESSAGING,)
    tables = """CREATE TABLE {percent} (id uuid PRIMARY KEY, "50%" bigint)"""


async def test_a_column_with_a_percent_sign_is_refused(database_url: str) -> None:
    conn = await connect(database_url, "test")
    async with conn:
        await ensure_schema(conn)
        with pytest.raises(BadTables, match="percent has a column '50%': a name has no %"):
            await start_build(conn, Percent)
