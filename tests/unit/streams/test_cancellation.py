"""A cancellation that was lost ends the task at the next check; a time-out that is over does not."""

import asyncio
from contextlib import suppress

import pytest

from streams.cancellation import stop_if_cancelled


async def test_a_task_that_lost_its_cancellation_ends_at_the_next_check() -> None:
    async def loses_it() -> None:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(3_600)
        stop_if_cancelled()
        pytest.fail("it goes on")

    task = asyncio.create_task(loses_it())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_time_out_that_is_over_is_no_cancellation() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await asyncio.sleep(3_600)
    stop_if_cancelled()
