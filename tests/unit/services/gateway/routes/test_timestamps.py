"""Times as clients see them."""

from datetime import datetime

from hypothesis import given
from hypothesis import strategies as st

from services.gateway.routes.timestamps import shown


def test_milliseconds_are_always_there() -> None:
    assert shown(0) == "1970-01-01T00:00:00.000Z"
    assert shown(1_767_225_600_005) == "2026-01-01T00:00:00.005Z"


@given(st.integers(0, 4_000_000_000_000))
def test_a_time_can_be_read_back(milliseconds: int) -> None:
    assert round(datetime.fromisoformat(shown(milliseconds)).timestamp() * 1000) == milliseconds
