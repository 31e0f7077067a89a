"""Columns of types that cut, pad or round what is written have the same rows however the events are batched."""

from decimal import Decimal

import msgspec

from contracts.envelope import Recorded
from contracts.events.message import MessageSent
from contracts.subjects import MESSAGING
from contracts.values.ids import new_id
from projections.engine import Projection, RowChanges, folds, handles, table_of
from tests.fix_read_models import OpenReadModel

ANNA, BORIS = new_id(), new_id()


def sent(text: str) -> MessageSent:
    return MessageSent(
        message_id=new_id(), sender_id=ANNA, recipient_id=BORIS, sequence=1, text=text, client_message_id="1"
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
