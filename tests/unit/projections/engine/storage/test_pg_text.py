"""Values as PostgreSQL reads them out of an array."""

import json
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projections.engine.storage.pg_text import (
    UnsupportedValue,
    array,
    column_to_pg_text,
    copy_lines,
    json_of,
    to_pg_text,
)


class Colour(StrEnum):
    RED = "red"


class Old(str, Enum):  # noqa: UP042 - whose texts are not its values
    RED = "red"


class Plain(Enum):
    RED = "red"


class Level(int, Enum):
    LOW = 1


class Step(IntEnum):
    FIRST = 1


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, None),
        ("text", "text"),
        (True, "true"),
        (-7, "-7"),
        (Decimal("1.50"), "1.50"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (datetime(2026, 1, 2, 3, tzinfo=timezone(timedelta(hours=1))), "2026-01-02T02:00:00+00:00"),
        (date(2026, 1, 2), "2026-01-02"),
        (timedelta(days=1, microseconds=-1), "86399999999 microseconds"),
        (b"\x00\xff", "\\x00ff"),
        (["a", None, "b,c"], '{"a",NULL,"b,c"}'),
        *((member, "red") for member in (Colour.RED, Old.RED, Plain.RED)),
        *((member, "1") for member in (Level.LOW, Step.FIRST)),
    ],
)
def test_values_have_a_text(value: object, text: str | None) -> None:
    assert to_pg_text(value) == text


@pytest.mark.parametrize("value", [datetime(2026, 1, 1), {"a": 1}, object()])  # noqa: DTZ001 - has no zone
def test_what_no_column_takes_is_refused(value: object) -> None:
    with pytest.raises(UnsupportedValue):
        to_pg_text(value)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=5))), "timestamp with time zone"),
        (datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-5))), "timestamp with time zone"),
        (10**5_000, "numeric"),
        ("\ud800", "text"),
        (["a", "\udfff"], "text[]"),
        ({"a": "\ud800"}, "jsonb"),
        (10**5_000, "jsonb"),
    ],
    ids=["too early", "too late", "too long", "half a pair", "half in a list", "half in JSON", "too long in JSON"],
)
def test_a_value_without_a_text_is_refused_before_anything_is_sent(value: object, kind: str) -> None:
    with pytest.raises(UnsupportedValue):
        array(column_to_pg_text([value], kind))
    with pytest.raises(UnsupportedValue):
        copy_lines([column_to_pg_text([None, value], kind)])


def test_nothing_in_an_element_is_syntax() -> None:
    assert array(['a"b', "c\\d", "NULL", None, "", "{e}"]) == '{"a\\"b","c\\\\d","NULL",NULL,"","{e}"}'


def test_json_is_encoded_and_null_is_null() -> None:
    assert json_of({"at": datetime(2026, 1, 1, tzinfo=UTC)}) == '{"at":"2026-01-01T00:00:00Z"}'
    assert json_of(None) is None
    with pytest.raises(UnsupportedValue):
        json_of(object())


def test_a_column_of_one_kind_is_as_its_single_values() -> None:
    for column in (["a", None], [1, 2], [True, 1], [Decimal(1), 2.5, None]):
        assert list(column_to_pg_text(column, "text")) == [to_pg_text(value) for value in column]
    assert column_to_pg_text([{"a": 1}, None], "jsonb") == ['{"a":1}', None]


@given(st.lists(st.datetimes(timezones=st.just(UTC)), min_size=1))
def test_a_column_of_moments_is_the_same_moments_as_its_single_values(column: list[datetime]) -> None:
    texts = column_to_pg_text(column, "timestamp with time zone")
    assert [datetime.fromisoformat(str(text)) for text in texts] == column
    assert list(column_to_pg_text(column, "text")) == [to_pg_text(value) for value in column]


def test_nothing_in_a_line_is_syntax() -> None:
    columns: list[list[str | None]] = [["a\tb", "c\\N", None], ["\n\r", "", "\\."]]
    assert copy_lines(columns) == ["a\\tb\t\\n\\r", "c\\\\N\t", "\\N\t\\\\."]


def test_nothing_makes_an_empty_array() -> None:
    assert array([]) == "{}"


def test_the_members_of_a_set_are_in_the_same_order_in_every_process() -> None:
    words = {f"word {number}" for number in range(20)}
    assert json_of({"words": words}) == json_of({"words": sorted(words)})
    assert json_of({"b": 1, "a": 2}, "json") == '{"b":1,"a":2}'


def test_the_keys_in_json_may_be_numbers_and_ids() -> None:
    counts = {"days": {2: {"b", "a"}, 1: None}, "people": {UUID(int=1): 1}}
    expected = '{"days":{"1":null,"2":["a","b"]},"people":{"00000000-0000-0000-0000-000000000001":1}}'
    assert json.loads(json_of(counts) or "") == json.loads(expected)
