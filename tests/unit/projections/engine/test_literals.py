"""Values as PostgreSQL reads them out of an array."""

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from uuid import UUID

import pytest

from projections.engine.literals import Unwritable, array, json_of, text_of


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
    ],
)
def test_values_have_a_text(value: object, text: str | None) -> None:
    assert text_of(value) == text


@pytest.mark.parametrize("value", [datetime(2026, 1, 1), {"a": 1}, object()])  # noqa: DTZ001 - has no zone
def test_what_no_column_takes_is_refused(value: object) -> None:
    with pytest.raises(Unwritable):
        text_of(value)


def test_nothing_in_an_element_is_syntax() -> None:
    assert array(['a"b', "c\\d", "NULL", None, "", "{e}"]) == '{"a\\"b","c\\\\d","NULL",NULL,"","{e}"}'


def test_json_is_encoded_and_null_is_null() -> None:
    assert json_of({"at": datetime(2026, 1, 1, tzinfo=UTC)}) == '{"at":"2026-01-01T00:00:00Z"}'
    assert json_of(None) is None
    with pytest.raises(Unwritable):
        json_of(object())
