"""Long computations in slices: between two slices the event loop runs its other tasks.

Without slices, a batch of thousands of events would hold up every request of the process while it is merged or encoded.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from time import perf_counter
from typing import TypeVar

Item = TypeVar("Item")

# Many times the cost of a turn of the loop, and a fraction of a request's duration.
SLICE_SECONDS = 0.001


async def in_slices(items: Iterable[Item]) -> AsyncIterator[Iterator[Item]]:
    """Yields the items in slices of at least one item, each about a millisecond long."""
    rest, has_more = iter(items), True

    def next_slice() -> Iterator[Item]:
        nonlocal has_more
        end = perf_counter() + SLICE_SECONDS
        for item in rest:
            yield item
            if perf_counter() >= end:
                return
        has_more = False

    yield next_slice()
    while has_more:
        await asyncio.sleep(0)
        yield next_slice()
