"""Runs the same work for several read models concurrently; a failure of one does not stop the others."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import msgspec

from infra.cli.errors import MENDABLE
from projections.engine.projection import Projection

Done = TypeVar("Done")
# Each one needs two database connections and some tens of MiB of memory.
AT_ONCE = 4


class Failed(msgspec.Struct, frozen=True):
    """A read model whose work failed, and the reason."""

    projection: str
    error: str

    def line(self) -> str:
        return self.error if self.projection in self.error else f"{self.projection}: {self.error}"


async def run_each(
    projections: Sequence[type[Projection]], work: Callable[[type[Projection]], Awaitable[Done]]
) -> tuple[list[Done], list[Failed]]:
    """Returns the results, and the failures that the operator can fix; both in the order of the projections.

    Raises:
        ExceptionGroup: an error that the operator cannot fix; the work on the others was stopped.
    """
    turns = asyncio.Semaphore(AT_ONCE)

    async def one(projection: type[Projection]) -> Done | Failed:
        async with turns:
            try:
                return await work(projection)
            except MENDABLE as error:
                return Failed(projection.name, str(error))

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(projection), name=projection.name) for projection in projections]
    results = [task.result() for task in tasks]
    failed = [result for result in results if isinstance(result, Failed)]
    return [result for result in results if not isinstance(result, Failed)], failed
