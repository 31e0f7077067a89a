"""The projection runners of one process, and their readiness."""

import asyncio
from collections.abc import Sequence

from nats.aio.client import Client as NATS

from infra.runtime.connections import Pool
from infra.url_files import DatabaseUrl
from projections.engine.erasing import ErasingProjection
from projections.engine.projection import Projection
from projections.engine.reading.shared_reader import SharedReaders
from projections.engine.running import unerased_builds
from projections.engine.running.runner import Runner
from projections.engine.waiting.position_waiter import PositionWaiter


class Runners:
    """Starts, watches and stops a runner for each of a service's projections."""

    def __init__(
        self, projections: Sequence[type[Projection]], nc: NATS, pool: Pool, database_url: DatabaseUrl
    ) -> None:
        self.waiting = PositionWaiter(projections, nc, pool)
        sharing = SharedReaders(nc)
        self._runners = {
            projection.name: Runner(projection, nc, database_url, self.waiting, sharing) for projection in projections
        }
        self._database_url = database_url
        # Those with texts of users.
        self._erasing = [kind for kind in projections if issubclass(kind, ErasingProjection) and kind.erasures]
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        await self.waiting.start()
        self._tasks = [
            asyncio.create_task(runner.run(), name=f"projection {name}") for name, runner in self._runners.items()
        ]
        if self._erasing:
            sweep = unerased_builds.run(self._erasing, self._database_url)
            self._tasks.append(asyncio.create_task(sweep, name="unerased builds"))

    def ready(self) -> bool:
        """Whether every read model has caught up once, in any replica.

        Those that failed, are paused, or wait for keys of personal data are left out.
        """
        return all(
            runner.ready or runner.failed or runner.paused or runner.waits_for_keys for runner in self._runners.values()
        )

    async def watch(self) -> None:
        """Never returns; raises if a runner ends, which is a fault of the engine and ends the process."""
        await asyncio.gather(*map(asyncio.shield, self._tasks))

    async def stop(self) -> None:
        """Stops the runners, so that other replicas take over immediately; they apply any uncommitted batch."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.waiting.stop()
