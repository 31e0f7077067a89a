"""The nemesis: takes the steps of a schedule one after another, and waits after each until the deployment is whole."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable

from tests.faults import history
from tests.faults.nemesis.fault import NATS, POSTGRES, Fault
from tests.faults.nemesis.target import Target
from tests.faults.schedule import Step


class Nemesis:
    def __init__(
        self,
        target: Target,
        until_ready: Callable[[], Awaitable[None]],
        record: Callable[[history.Fault], None],
        say: Callable[[str], None],
    ) -> None:
        """`until_ready`: waits until all our services are ready."""
        self._target = target
        self._until_ready = until_ready
        self._record = record
        self._say = say

    async def run(self, steps: Iterable[Step], seconds: float) -> int:
        """Takes steps until the time is over or there are no more; returns how many it took.

        Raises:
            AssertionError: what a fault harmed does not come back.
        """
        ends = time.monotonic() + seconds
        taken = 0
        for step in steps:
            await asyncio.sleep(step.pause)
            if time.monotonic() >= ends:
                break
            await self._take(step)
            taken += 1
        return taken

    async def _take(self, step: Step) -> None:
        async with asyncio.TaskGroup() as tasks:
            for position, fault in enumerate(step.faults):
                tasks.create_task(self._cause(fault, step, position * step.apart))
        begun = time.monotonic()
        cluster = self._target.cluster
        await cluster.wait_ready([*cluster.names(NATS), *cluster.names(POSTGRES)])
        await self._until_ready()
        await self._target.until_whole()
        self._say(f"step {step.number}: everything ready {time.monotonic() - begun:.1f} s after its end")

    async def _cause(self, fault: Fault, step: Step, after: float) -> None:
        await asyncio.sleep(after)
        begun = history.now()
        async with fault.acting(self._target) as targets:
            self._say(f"step {step.number}: {fault.name()} of {', '.join(targets)} for {fault.seconds} s")
            await asyncio.sleep(fault.seconds)
            ended = history.now()
        self._record(
            history.Fault(
                name=fault.name(),
                targets=list(targets),
                begun=begun,
                ended=ended,
                step=step.number,
                is_outage=fault.is_outage,
            )
        )
