"""Query parameters and cursors."""

from contextlib import suppress

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import Invalid
from services.gateway.http import query_params
from services.gateway.http.query_params import PageQuery
from services.gateway.routes.messages import MessagesQuery


class Edge(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    before: int


def test_what_is_left_out_has_its_default_and_what_is_unknown_is_ignored() -> None:
    assert query_params.decode(b"utm=1", PageQuery) == PageQuery(50, "")
    assert query_params.decode(b"limit=7&cursor=abc", PageQuery) == PageQuery(7, "abc")


@pytest.mark.parametrize("text", ["limit=0", "limit=201", "limit=1.5", "limit=", "limit=1&limit=1", "limit=%20"])
def test_a_limit_out_of_bounds_is_named(text: str) -> None:
    with pytest.raises(Invalid) as refused:
        query_params.decode(text.encode(), PageQuery)
    assert refused.value.violations[0].path == "/query/limit"


@pytest.mark.parametrize("text", ["before=null", "after=NULL"])
def test_the_word_null_is_no_value(text: str) -> None:
    with pytest.raises(Invalid) as refused:
        query_params.decode(text.encode(), MessagesQuery)
    assert refused.value.violations[0].path == f"/query/{text.partition('=')[0]}"


@given(st.integers(0, 2**53 - 1))
def test_a_cursor_comes_back_as_it_was(sequence: int) -> None:
    assert query_params.unpack_cursor(query_params.pack_cursor(Edge(sequence)), Edge) == Edge(sequence)


@given(st.text(max_size=40))
def test_anything_else_is_no_cursor(text: str) -> None:
    with suppress(Invalid):
        assert isinstance(query_params.unpack_cursor(text, Edge), Edge)
