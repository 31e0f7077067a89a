"""Values at the edges: timestamps, cursors, and violations of an input."""

import base64
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from typing import Annotated

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta

from contracts.errors import Invalid, Violation
from contracts.values.cursors import decode_cursor, encode_cursor
from contracts.values.timestamps import from_unix_ms, rfc3339, to_unix_ms
from contracts.values.validation import validated


class Cursor(msgspec.Struct, frozen=True):
    at: datetime
    name: str


class Command(msgspec.Struct, frozen=True):
    name: Annotated[str, Meta(min_length=2)]
    tags: tuple[Annotated[str, Meta(max_length=2)], ...] = ()


@given(st.integers(min_value=0, max_value=2**42))
def test_times_keep_their_milliseconds(value: int) -> None:
    assert to_unix_ms(from_unix_ms(value)) == value


def test_times_are_shown_in_utc() -> None:
    moment = datetime(2026, 1, 31, 13, 0, 0, 5000, tzinfo=timezone(timedelta(hours=1)))
    assert rfc3339(moment) == "2026-01-31T12:00:00.005Z"


@given(st.text(max_size=30))
def test_a_cursor_comes_back_as_it_was(name: str) -> None:
    cursor = Cursor(datetime(2026, 1, 1, tzinfo=UTC), name)
    assert decode_cursor(encode_cursor(cursor), Cursor) == cursor


def test_a_cursor_that_a_client_has_kept_is_still_one() -> None:
    encoded = "eyJhdCI6IjIwMjYtMDEtMDFUMDA6MDA6MDBaIiwibmFtZSI6IsO_PyJ9"
    assert decode_cursor(encoded, Cursor) == Cursor(datetime(2026, 1, 1, tzinfo=UTC), "ÿ?")
    assert encode_cursor(Cursor(datetime(2026, 1, 1, tzinfo=UTC), "ÿ?")) == encoded


@given(st.text(max_size=40))
def test_any_other_text_is_refused_or_a_cursor(text: str) -> None:
    with suppress(Invalid):
        decode_cursor(text, Cursor)


def test_the_first_page_has_no_cursor() -> None:
    assert decode_cursor("", Cursor) is None


@pytest.mark.parametrize("offset", [timedelta(hours=-23, minutes=-59), timedelta(hours=2), timedelta(hours=23)])
def test_the_time_of_a_cursor_is_in_utc(offset: timedelta) -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    cursor = decode_cursor(encode_cursor(Cursor(at.astimezone(timezone(offset)), "a")), Cursor)
    assert cursor is not None
    assert (cursor.at, cursor.at.tzinfo) == (at, UTC)


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2026-01-01T00:00:00"])
def test_a_time_that_no_cursor_can_have_is_refused(at: str) -> None:
    made_up = base64.urlsafe_b64encode(msgspec.json.encode({"at": at, "name": "a"})).decode()
    with pytest.raises(Invalid):
        decode_cursor(made_up, Cursor)


@pytest.mark.parametrize("text", ["x", "e30", "!!!!", "a" * 2000, encode_cursor(Command("anna"))])
def test_what_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        decode_cursor(text, Cursor)


@pytest.mark.parametrize(
    ("values", "path"), [({"name": "a"}, "/name"), ({"name": "ab", "tags": ["a", "abc"]}, "/tags/1"), ({}, "/name")]
)
def test_a_violation_names_its_place(values: dict[str, object], path: str) -> None:
    with pytest.raises(Invalid) as caught:
        validated(Command, values)
    (violation,) = caught.value.violations
    assert isinstance(violation, Violation)
    assert violation.path == path
    assert "$" not in violation.message
