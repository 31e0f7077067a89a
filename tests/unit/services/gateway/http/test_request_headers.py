"""Ids of requests: the caller's where it is sane, and always one of ours."""

import pytest

from contracts.values.ids import is_id
from services.gateway.http.request_headers import correlation_id, parse_request_id


def test_a_sane_id_of_the_caller_is_shown_and_one_of_ours_correlates() -> None:
    shown = parse_request_id("order-7")
    assert shown == "order-7"
    ours = correlation_id("order-7", shown)
    assert is_id(ours)
    assert correlation_id("order-7", shown) != ours


@pytest.mark.parametrize("given", [None, "", "two words", "x" * 129])
def test_without_one_ours_is_shown_and_correlates(given: str | None) -> None:
    shown = parse_request_id(given)
    assert is_id(shown)
    assert correlation_id(given, shown) == ""
