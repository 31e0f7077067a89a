"""Waits for a condition that other tasks of the test's process bring about."""

import asyncio
from collections.abc import Callable


async def until(condition: Callable[[], object], within: float = 60.0) -> None:
    """Waits until the condition holds; raises TimeoutError after `within` seconds."""
    async with asyncio.timeout(within):
        while not condition():
            await asyncio.sleep(0.01)
