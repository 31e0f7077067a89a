import asyncio

import pytest

from services.gateway.live.client_pace import LEAST_RATE, Pace


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    async def pass_by(self, seconds: float) -> None:
        self.now += seconds


async def test_a_client_that_reads_little_is_dropped_after_a_minute_of_waiting_for_it() -> None:
    clock = Clock()
    pace = Pace(clock=clock)
    for _ in range(2):
        await pace.wait(clock.pass_by(29), 64 * 1024)
    with pytest.raises(TimeoutError):
        await pace.wait(clock.pass_by(29), 64 * 1024)


async def test_a_client_that_reads_enough_is_waited_for_as_often_as_it_needs() -> None:
    clock = Clock()
    pace = Pace(clock=clock)
    for _ in range(100):
        await pace.wait(clock.pass_by(15), 15 * LEAST_RATE)


async def test_what_is_written_synchronously_counts_too() -> None:
    clock = Clock()
    pace = Pace(clock=clock)
    for _ in range(20):
        pace.took(20 * LEAST_RATE)
        await pace.wait(clock.pass_by(20), 1)


async def test_time_in_which_nothing_is_sent_does_not_count() -> None:
    clock = Clock()
    pace = Pace(clock=clock)
    for _ in range(100):
        clock.now += 3_600
        await pace.wait(clock.pass_by(0.1), 100 * LEAST_RATE)


async def test_time_in_which_several_wait_counts_once() -> None:
    clock = Clock()
    pace = Pace(clock=clock)
    writable = asyncio.Event()

    async def sending() -> None:
        await writable.wait()

    waiting = [asyncio.create_task(pace.wait(sending(), LEAST_RATE)) for _ in range(30)]
    await asyncio.sleep(0)
    clock.now += 25
    writable.set()
    await asyncio.gather(*waiting)
    # 25 seconds have passed and not 750, in which more would have been due.
    await pace.wait(clock.pass_by(10), 0)


async def test_a_client_that_reads_nothing_is_dropped() -> None:
    with pytest.raises(TimeoutError):
        await Pace(0.01).wait(asyncio.Event().wait(), 1)  # type: ignore[arg-type]  # it never returns
