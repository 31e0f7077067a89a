"""Queries of a read model."""

from decimal import Decimal

import msgspec

from contracts.positions import Position
from contracts.subjects import MESSAGING
from projections.engine import ReadModel
from tests.fix_postgres import Pool
from tests.integration.projections.event_writer import Opened, Writer, conversation_ids
from tests.integration.projections.sample_projection import Letters

QUERY = """
    SELECT place, identity FROM (VALUES (2, 'a'), (3, 'b'), (1, 'c')) AS ranks (place, identity)
    WHERE place % %(number)s < 100 ORDER BY identity DESC -- the last line"""


async def opened(run: Opened, writer: Writer, pool: Pool) -> ReadModel:
    model = ReadModel(Letters, pool, (await run(Letters)).waiting)
    await model.wait_for(Position.at(MESSAGING, await writer.say(conversation_ids(1)[0], "a")), 60)
    return model


class Ranked(msgspec.Struct, frozen=True):
    place: int
    identity: str


async def test_a_query_may_have_columns_of_any_name_and_end_with_a_comment(
    run: Opened, writer: Writer, pool: Pool
) -> None:
    model = await opened(run, writer, pool)
    expected = [Ranked(1, "c"), Ranked(3, "b"), Ranked(2, "a")]
    query = QUERY.replace("place %", "place %%")
    for _ in range(2):
        assert (await model.select(Ranked, query, {"number": 4}))[0] == expected
    assert (await model.select_with_gaps("none", Ranked, query, {"number": 4}))[0] == expected
    assert (await model.select_snapshot(Ranked, query, {"number": 4}))[0] == expected


class Totals(msgspec.Struct, frozen=True):
    whole: int
    exact: Decimal
    average: float
    longest: int


async def test_a_sum_is_a_number_of_the_fields_type(run: Opened, writer: Writer, pool: Pool) -> None:
    model = await opened(run, writer, pool)
    query = """
        SELECT sum(n) AS whole, sum(n) AS exact, avg(n) AS average, -sum(n * 10^20::numeric) AS longest
        FROM generate_series(1::bigint, 4) AS n
    """
    rows, _ = await model.select(Totals, query)
    assert rows == [Totals(10, Decimal(10), 2.5, -(10**21))]


class Encoded(msgspec.Struct, frozen=True):
    text: bytes | None
    same: str | None


async def test_a_text_may_come_encoded(run: Opened, writer: Writer, pool: Pool) -> None:
    model = await opened(run, writer, pool)
    query = "SELECT textout(t) AS text, t AS same FROM unnest(ARRAY['Привет 👍\n', '', NULL]) AS t"
    rows, _ = await model.select(Encoded, query)
    assert rows == [Encoded("Привет 👍\n".encode(), "Привет 👍\n"), Encoded(b"", ""), Encoded(None, None)]
