"""The same work for several read models at once; one that fails does not keep the others from their end."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import msgspec

from infra.cli.errors import MENDABLE
from projections.engine.projection import Projection

Done = TypeVar("Done")
# Each has two connections to the database, and some tens of MiB in memory.
AT_ONCE = 4


class Failed(msgspec.Struct, frozen=True):
    """Which read model, and why."""

    projection: str
    error: str

    def line(self) -> str:
        return self.error if self.projection in self.error else f"{self.projection}: {self.error}"


async def each(
    projections: Sequence[type[Projection]], work: Callable[[type[Projection]], Awaitable[Done]]
) -> tuple[list[Done], list[Failed]]:
    """What came of the work, and what went wrong for the operator to mend; both in the order of the projections.

    Raises:
        ExceptionGroup: an error that is not the operator's; the work on the others was stopped.
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
