"""Entity tags in conditional requests."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from services.gateway.http.etags import EntityTag, header_of, matches, parse


def test_lists_weak_tags_and_the_star_are_read() -> None:
    assert parse('"a", W/"b"') == [EntityTag("a"), EntityTag("b", weak=True)]
    assert parse(" * ") == [EntityTag("*")]
    assert parse('""') == [EntityTag("")]
    assert parse('"a",, "b" ,') == parse(', "a", ,"b"') == [EntityTag("a"), EntityTag("b")]


@pytest.mark.parametrize(
    "header",
    ["", "a", '"a', '"a" "b"', "W/a", "x" * 10_000, " " * 100_000, ",", ", " * 2_000, '"a"' + ", " * 2_000 + "b"],
)
def test_a_malformed_list_has_no_tags(header: str) -> None:
    assert parse(header) == []


def test_a_tag_matches_whether_weak_or_not() -> None:
    assert matches('"x", W/"a"', '"a"')
    assert matches("*", '"a"')
    assert not matches('"b"', '"a"')
    assert not matches(None, '"a"')


def test_several_headers_of_one_name_are_one_list() -> None:
    headers = Headers(raw=[(b"if-match", b'"a"'), (b"host", b"x"), (b"if-match", b'"b", "c"')])
    assert header_of(headers, "If-Match") == '"a", "b", "c"'
    assert header_of(headers, "if-none-match") is None


@given(st.text(max_size=50))
def test_any_header_is_read(header: str) -> None:
    parse(header)
