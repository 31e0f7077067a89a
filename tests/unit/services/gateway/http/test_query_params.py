"""Query parameters: defaults, limits, and invalid values."""

from typing import Annotated

import msgspec
import pytest
from msgspec import Meta

from contracts.errors import Invalid
from services.gateway.http import query_params
from services.gateway.http.query_params import PageQuery
from services.gateway.routes.messages import MessagesQuery


def test_omitted_parameters_have_their_defaults_and_unknown_ones_are_ignored() -> None:
    assert query_params.decode(b"utm=1", PageQuery) == PageQuery(50, "")
    assert query_params.decode(b"limit=7&cursor=abc", PageQuery) == PageQuery(7, "abc")


@pytest.mark.parametrize("text", ["limit=0", "limit=201", "limit=1.5", "limit=", "limit=1&limit=1", "limit=%20"])
def test_a_limit_out_of_bounds_is_named(text: str) -> None:
    with pytest.raises(Invalid) as refused:
        query_params.decode(text.encode(), PageQuery)
    assert refused.value.violations[0].path == "/query/limit"


class Named(msgspec.Struct, frozen=True):
    user_id: Annotated[tuple[str, ...], Meta(min_length=1, max_length=2)]


def test_a_parameter_that_holds_a_list_is_repeated() -> None:
    assert query_params.decode(b"user_id=a&user_id=b", Named) == Named(("a", "b"))
    assert query_params.decode(b"user_id=a", Named) == Named(("a",))


@pytest.mark.parametrize("text", ["", "user_id=a&user_id=b&user_id=c"])
def test_a_list_that_is_too_short_or_too_long_is_named(text: str) -> None:
    with pytest.raises(Invalid) as refused:
        query_params.decode(text.encode(), Named)
    assert refused.value.violations[0].path == "/query/user_id"


@pytest.mark.parametrize("text", ["before=null", "after=NULL"])
def test_the_word_null_is_no_value(text: str) -> None:
    with pytest.raises(Invalid) as refused:
        query_params.decode(text.encode(), MessagesQuery)
    assert refused.value.violations[0].path == f"/query/{text.partition('=')[0]}"
