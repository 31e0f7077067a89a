"""What becomes of the processes of a cluster: whether they are ready at the end, and what they hold meanwhile."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from signal import SIGKILL

from tests.faults import process_samples
from tests.faults.history import ProcessState, Recorder, now
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


async def final_states(cluster: Cluster) -> list[ProcessState]:
    """Waits until every host is ready or does not become so, and returns how each process ended and how it is now."""
    states = [
        # The laboratory stops and kills; any other end is the process's own.
        ProcessState(process=name, at=now(), state="ended", exit_code=code, expected=code in (0, -SIGKILL))
        for name in cluster.ours()
        for code in cluster.hosts[name].exit_codes
    ]
    for name in cluster.ours():
        try:
            await cluster.wait_ready([name])
            states.append(ProcessState(process=name, at=now(), state="ready"))
        except ExceptionGroup:
            states.append(ProcessState(process=name, at=now(), state="not_ready"))
    return states


async def _sample(cluster: Cluster, recorder: Recorder) -> None:
    while True:
        for name in cluster.ours():
            if (sample := process_samples.take(name, cluster.hosts[name].pid)) is not None:
                recorder.add(sample)
        recorder.flush()
        await asyncio.sleep(_SAMPLE_EVERY)
