"""The first item of a burst is handled immediately, and the others together."""

import asyncio
from collections.abc import Collection

from streams.batching.bursts import Bursts


async def test_the_first_item_is_handled_immediately_and_a_burst_together() -> None:
    handled: list[list[int]] = []
    again = asyncio.Event()

    def handle(items: Collection[int]) -> None:
        handled.append(sorted(items))
        again.set()

    bursts = Bursts(handle, pause=0.05)
    bursts.add([])
    assert handled == []
    bursts.add([1])
    assert handled == [[1]]
    again.clear()
    for number in range(2, 1_000):
        bursts.add([number])
    assert handled == [[1]]
    await again.wait()
    assert handled == [[1], list(range(2, 1_000))]


async def test_after_a_pause_the_next_item_is_handled_immediately() -> None:
    handled: list[list[int]] = []
    bursts: Bursts[int] = Bursts(lambda items: handled.append(sorted(items)), pause=0)
    bursts.add([1])
    while bursts._pauses:
        await asyncio.sleep(0)
    bursts.add([2])
    assert handled == [[1], [2]]
