import asyncio
from types import SimpleNamespace
from typing import Any, cast

from contracts.positions import Position
from projections.engine.rebuild.catch_up import CatchUp
from projections.engine.rebuild.progress import ignore_progress


class Hanging:
    """A pipeline whose step does not end."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.ended = False

    async def step(self, _: float) -> None:
        self.begun.set()
        try:
            await asyncio.Future()
        finally:
            self.ended = True


async def test_a_cutover_that_is_cancelled_leaves_no_step_behind() -> None:
    unused = cast(Any, None)
    filling = cast(Any, SimpleNamespace(position=Position({"CONTACT": 1})))
    catch_up = CatchUp(unused, unused, filling, unused, unused, ignore_progress)
    pipeline = Hanging()
    attempt = asyncio.create_task(catch_up._catch_up_to(cast(Any, pipeline), Position({"CONTACT": 2})))
    await pipeline.begun.wait()
    attempt.cancel()
    await asyncio.gather(attempt, return_exceptions=True)
    await catch_up.aclose()
    assert pipeline.ended
