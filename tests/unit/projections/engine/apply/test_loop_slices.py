"""Long computations let the event loop run its other tasks; short ones are not interrupted."""

import asyncio
from itertools import count

import pytest

from projections.engine.apply import loop_slices
from projections.engine.apply.loop_slices import in_slices


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slice lasts for three readings of the clock: at its start, and after each item."""
    ticks = count()
    monkeypatch.setattr(loop_slices, "perf_counter", lambda: next(ticks) * loop_slices.SLICE_SECONDS / 2)


async def turns_at(items: int) -> list[list[int]]:
    """For each slice: the turns of the loop until each of its items."""
    turns = 0

    async def take_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(take_turns())
    try:
        return [[turns for _ in loop_slice] async for loop_slice in in_slices(range(items))]
    finally:
        other.cancel()


async def test_other_tasks_run_once_between_two_slices() -> None:
    assert await turns_at(5) == [[0, 0], [1, 1], [2]]


async def test_a_computation_of_one_slice_is_not_interrupted() -> None:
    assert await turns_at(1) == [[0]]
    assert await turns_at(0) == [[]]


async def test_every_item_is_yielded_once_and_in_order() -> None:
    assert [item async for loop_slice in in_slices(iter("abcdefg")) for item in loop_slice] == list("abcdefg")
