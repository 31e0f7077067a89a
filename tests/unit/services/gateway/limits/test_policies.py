"""The limits of the routes, and that the page about them agrees."""

from pathlib import Path

import pytest

from services.gateway.http.endpoint import AnyEndpoint
from services.gateway.limits import policies
from services.gateway.limits.rate_limiter import Limit, Subject
from services.gateway.route_table import ENDPOINTS


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: f"{endpoint.method} {endpoint.path}")
def test_every_route_is_limited_by_address_and_by_account(endpoint: AnyEndpoint) -> None:
    subjects = {applied.limit.subject for applied in endpoint.limits}
    assert Subject.ADDRESS in subjects
    assert endpoint.public or Subject.ACCOUNT in subjects


def test_no_two_limits_share_a_name() -> None:
    names = [limit.name for limit in policies.ALL]
    assert len(names) == len(set(names))


PAGE = Path(__file__).parents[5] / "docs" / "reference" / "limits.md"
COUNTS = {Subject.ADDRESS: "address", Subject.ACCOUNT: "account", Subject.BODY: "what is named"}
WINDOWS = {1: "s", 60: "min", 3_600: "h", 86_400: "d"}


def row(limit: Limit) -> str:
    """The beginning of the limit's row in the page."""
    counts = COUNTS[limit.subject] + ("" if limit.shared else ", *each gateway*")
    return f"| `{limit.name}` | {counts} | {limit.quota:,} in 1 {WINDOWS[limit.window]} | {limit.capacity:,} |"


@pytest.mark.parametrize("limit", policies.ALL, ids=lambda limit: limit.name)
def test_the_page_of_limits_says_what_holds(limit: Limit) -> None:
    assert row(limit) in PAGE.read_text()
