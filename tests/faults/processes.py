"""What becomes of the processes of a cluster: whether they are ready at the end, and what they hold meanwhile."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.faults import process_samples
from tests.faults.history import ProcessState, now
from tests.faults.recording import Recorder
from tests.rehearsal.cluster import Cluster

_SAMPLE_EVERY = 5.0


@asynccontextmanager
async def sampling(cluster: Cluster, recorder: Recorder) -> AsyncIterator[None]:
    """Records every few seconds what each process of our services holds."""
    task = asyncio.create_task(_sample(cluster, recorder))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class Processes:
    """Records when the processes of our services have ended, and when they were ready again."""

    def __init__(self, cluster: Cluster, recorder: Recorder) -> None:
        self._cluster = cluster
        self._recorder = recorder
        # By host: how many ends are known; without an entry it was not ready yet.
        self._ends: dict[str, int] = {}

    async def look(self) -> None:
        """Waits until each is ready.

        Raises:
            ExceptionGroup: one does not become so.
        """
        async with asyncio.TaskGroup() as tasks:
            for name in self._cluster.ours():
                tasks.create_task(self._look(name))

    async def _look(self, name: str) -> None:
        state = "not_ready"
        try:
            await self._cluster.wait_ready([name])
            state = "ready"
        finally:
            ends = self._cluster.hosts[name].ends
            known = self._ends.get(name)
            # Before everything was ready for the first time, a process may end because another one is not there yet.
            for end in ends[known:] if known is not None else ():
                self._add(name, "ended", end.code, expected=not end.by_itself)
            if state != "ready" or known != len(ends):
                self._add(name, state)
            self._ends[name] = len(ends)

    def _add(self, name: str, state: str, code: int = 0, *, expected: bool = False) -> None:
        self._recorder.add(ProcessState(process=name, at=now(), state=state, exit_code=code, expected=expected))


async def _sample(cluster: Cluster, recorder: Recorder) -> None:
    while True:
        for name in cluster.ours():
            if (sample := process_samples.take(name, cluster.hosts[name].pid)) is not None:
                recorder.add(sample)
        recorder.flush()
        await asyncio.sleep(_SAMPLE_EVERY)
