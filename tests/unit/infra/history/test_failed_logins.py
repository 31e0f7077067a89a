"""Sessions and failed logins in one order of time."""

from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.history.failed_logins import merged
from infra.history.login_audit import Row, Unreadable

START = datetime(2026, 1, 1, tzinfo=UTC)
Pages = list[list[int]]


def row(second: int) -> Row:
    return Row(
        at=START + timedelta(seconds=second),
        event="session.created",
        user_id="u",
        username="u",
        session_id=None,
        device=None,
        address=None,
        reason=None,
    )


async def source(pages: Pages, unreadable: list[str] | None = None) -> AsyncGenerator[list[Row], None]:
    for page in pages:
        yield [row(second) for second in page]
    if unreadable:
        raise Unreadable(unreadable)


def seconds(rows: list[Row]) -> list[int]:
    return [int((row.at - START).total_seconds()) for row in rows]


def in_pages(times: list[int], size: int) -> Pages:
    times = sorted(times)
    return [[], *(times[first : first + size] for first in range(0, len(times), size)), []]


@given(st.lists(st.integers(0, 50)), st.lists(st.integers(0, 50)), st.integers(1, 5))
async def test_all_rows_come_in_the_order_of_time(one: list[int], other: list[int], size: int) -> None:
    rows: list[Row] = []
    async for page in merged(source(in_pages(one, size)), source(in_pages(other, size + 1))):
        rows += page
    assert seconds(rows) == sorted([*one, *other])


async def test_rows_of_one_source_whose_clocks_differ_a_little_are_all_there() -> None:
    rows: list[Row] = []
    async for page in merged(source([[3, 2, 5], [4, 6]]), source([[1, 9], [8]])):
        rows += page
    assert sorted(seconds(rows)) == [1, 2, 3, 4, 5, 6, 8, 9]


async def test_what_one_source_cannot_read_is_named_after_all_other_rows() -> None:
    rows: list[Row] = []

    async def read() -> None:
        async for page in merged(source([[1]], ["SESSION 7"]), source([[2], [3]], ["AUTH 9"])):
            rows.extend(page)

    with pytest.raises(Unreadable, match="SESSION 7, AUTH 9"):
        await read()
    assert seconds(rows) == [1, 2, 3]
