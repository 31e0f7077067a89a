"""Rebuilds a read model beside the live one and switches to it, while reads and writes go on.

An interrupted rebuild is taken up where it stopped. Where a version has no live build yet, its first one is filled,
unless a service is about to do that.
"""

import asyncio
import time
from collections.abc import Callable

import msgspec
from nats.aio.client import Client as NATS

from contracts.positions import Position
from infra.failures import Failure
from projections.engine import builds, switching
from projections.engine.builds import Build, Connection
from projections.engine.connecting import connect, rebuild_lock, runner_lock, try_lock
from projections.engine.filling import Filling
from projections.engine.projection import Projection
from projections.engine.sources import Sources
from projections.engine.tables import BadTables
from projections.engine.waiting import Reached, subject_of

# How long the live build may be held while the new one takes its last steps.
_HOLD_SECONDS = 2.0
# Between two attempts to switch.
_PAUSE_SECONDS = 0.05


class RebuildUnderWay(Failure):
    """Somebody else is building this read model just now."""

    def __init__(self, projection: str) -> None:
        super().__init__(f"{projection} is being built already, by its service or by another rebuild")


class Progress(msgspec.Struct, frozen=True):
    """How far a rebuild is."""

    events: int
    # Known at this moment; it grows while others write.
    total: int
    seconds: float

    @property
    def events_per_second(self) -> float:
        return self.events / self.seconds if self.seconds else 0.0


class Rebuilt(msgspec.Struct, frozen=True):
    """What a rebuild has made."""

    projection: str
    version: int
    build: int
    position: dict[str, int]
    events: int
    seconds: float
    events_per_second: float


Report = Callable[[Progress], None]


async def rebuild(
    projection: type[Projection], nc: NATS, database_url: str, report: Report = lambda progress: None
) -> Rebuilt:
    """Rebuilds the read model and puts the new build under its views.

    Raises:
        RebuildUnderWay: somebody else is doing so.
        BadTables: the projection's tables have changed and its version has not.
    """
    conn = await connect(database_url, f"rebuild {projection.name}")
    try:
        await builds.ensure_schema(conn)
        build = await _claim(conn, projection)
        try:
            return await _fill(conn, projection, build, nc, database_url, report)
        except BadTables:
            # Its columns will never do: left behind, it would be taken up again and again.
            await switching.drop_build(conn, projection, build)
            raise
    finally:
        await conn.close()


async def _fill(
    conn: Connection, projection: type[Projection], build: Build, nc: NATS, database_url: str, report: Report
) -> Rebuilt:
    filling = await Filling.open(conn, projection, build)
    switcher = await connect(database_url, f"switch {projection.name}")
    try:
        return await _Rebuild(projection, nc, filling, switcher, report).run()
    finally:
        await switcher.close()


async def _claim(conn: Connection, projection: type[Projection]) -> Build:
    """The build to fill: an interrupted one or a new one."""
    if not await try_lock(conn, rebuild_lock(projection)):
        raise RebuildUnderWay(projection.name)
    if not await _may_fill(conn, projection):
        raise RebuildUnderWay(projection.name)
    await switching.drop_leftovers(conn, projection)
    return await switching.unfinished_build(conn, projection) or await switching.start_build(conn, projection)


async def _may_fill(conn: Connection, projection: type[Projection]) -> bool:
    """Without a live build it is the runner's lock that says who fills the first; it may go live meanwhile."""
    return (
        await switching.live_build(conn, projection) is not None
        or await try_lock(conn, runner_lock(projection))
        or await switching.live_build(conn, projection) is not None
    )


class _Rebuild:
    def __init__(
        self, projection: type[Projection], nc: NATS, filling: Filling, switcher: Connection, report: Report
    ) -> None:
        self._projection = projection
        self._nc = nc
        self._filling = filling
        self._switcher = switcher
        self._report = report
        self._begun = time.monotonic()
        self._events = 0

    async def run(self) -> Rebuilt:
        sources = Sources(
            self._nc,
            self._projection.filters(),
            self._filling.position,
            name=f"rebuild-{self._projection.name}",
        )
        async with sources:
            while not sources.at_end:
                await self._step(sources)

            async def catch_up(target: Position) -> bool:
                return await self._reach(sources, target)

            while not await switching.switch(self._switcher, self._projection, self._filling.build, catch_up):
                # The view is in use, or writers were quicker: the new build keeps up until the next attempt.
                await self._follow(sources)
        await self._announce()
        await switching.drop_leftovers(self._switcher, self._projection)
        return self._result()

    async def _step(self, sources: Sources, timeout: float | None = None) -> bool:
        """Applies the next batch; False if none came in time. Only the waiting is cut short, never the applying."""
        try:
            async with asyncio.timeout(timeout):
                stream, batch = await sources.next()
        except TimeoutError:
            return False
        await self._filling.apply(stream, batch.messages, batch.position)
        self._events += len(batch.messages)
        left = sum(pending or 0 for pending in sources.pending.values())
        self._report(Progress(self._events, self._events + left, time.monotonic() - self._begun))
        return True

    async def _reach(self, sources: Sources, target: Position) -> bool:
        """Applies up to the position at which the live build is being held; False if that takes too long."""
        deadline = time.monotonic() + _HOLD_SECONDS
        while not covers(self._filling.position, target):
            left = deadline - time.monotonic()
            if left <= 0 or not await self._step(sources, left):
                return False
        return True

    async def _follow(self, sources: Sources) -> None:
        deadline = time.monotonic() + _PAUSE_SECONDS
        while (left := deadline - time.monotonic()) > 0:
            await self._step(sources, left)

    async def _announce(self) -> None:
        """Tells the services' processes at once that other tables are under the views, and how far these are."""
        build = self._filling.build
        reached = Reached(build.identity, dict(self._filling.position.sequences))
        await self._nc.publish(subject_of(self._projection), msgspec.json.encode(reached))
        await self._nc.flush()

    def _result(self) -> Rebuilt:
        build = self._filling.build
        seconds = time.monotonic() - self._begun
        return Rebuilt(
            projection=self._projection.name,
            version=self._projection.version,
            build=build.build,
            position=dict(self._filling.position.sequences),
            events=self._events,
            seconds=round(seconds, 3),
            events_per_second=round(self._events / seconds, 1) if seconds else 0.0,
        )


def covers(position: Position, other: Position) -> bool:
    """Whether the position has seen everything that the other has."""
    return all(sequence <= position.of(stream) for stream, sequence in other.sequences.items())
