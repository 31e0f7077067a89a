"""Rebuilds a read model beside the live one and switches to it, or back to the one before, while everybody goes on.

Whatever is interrupted is taken up where it stopped: by the same call, where the database was away for a moment, and
by the next one, where the call itself was killed. Where a version has no live build yet, its first one is filled,
unless a service is about to do that. Going back fills the build that was live before from where it was left.
"""

import asyncio
import logging
import time

import msgspec
from nats.aio.client import Client as NATS
from psycopg import Error as DatabaseError
from psycopg import errors

from contracts.errors import Unavailable
from contracts.positions import Position
from infra.operator_errors import OperatorError
from projections.engine.apply.build_writer import BuildSuperseded, BuildWriter
from projections.engine.dead_letters import discards
from projections.engine.projection import Projection
from projections.engine.rebuild import cutover
from projections.engine.rebuild.catch_up import CatchUp
from projections.engine.rebuild.progress import Progress, ProgressTracker, Report, ignore_progress
from projections.engine.storage import builds, dead_letters
from projections.engine.storage.builds import Build, BuildState, Connection
from projections.engine.storage.connections import close_and_unlock, connect, rebuild_lock, runner_lock, try_lock
from projections.engine.storage.lost_events import EventsLost
from projections.engine.storage.schema import ensure_schema
from projections.engine.storage.tables import BadTables

log = logging.getLogger(__name__)
# How long the database may be away, or another may hold what was ours before, until the call gives up.
_PATIENCE_SECONDS = 60.0
# What the database says of rows and not of itself: that they go into no index, say. No other attempt changes it.
_LASTING = (errors.DataError, errors.ProgramLimitExceeded)
_PAUSE_SECONDS = 0.25


class RebuildUnderWay(OperatorError):
    """Somebody else is building this read model just now."""

    def __init__(self, projection: str, by: str) -> None:
        super().__init__(f"{projection} is being built already, by {by}; `vestnik status` shows how far it is")


class NothingKept(OperatorError):
    """There is no build that one could go back to."""

    def __init__(self, projection: type[Projection]) -> None:
        super().__init__(f"no earlier build of {projection.name} version {projection.version} is kept")


class Rebuilt(msgspec.Struct, frozen=True, kw_only=True):
    """What a rebuild has made, or what was gone back to."""

    projection: str
    version: int
    build: int
    # The build that was live before; it is kept until the next rebuild.
    replaced: int | None
    position: dict[str, int]
    # Read by this call, and in which time.
    events: int
    seconds: float
    events_per_second: float
    # Events that it could not apply, or that wait behind such a one.
    dead_letters: int


async def rebuild(
    projection: type[Projection], nc: NATS, database_url: str, report: Report = ignore_progress, *, back: bool = False
) -> Rebuilt:
    """Rebuilds the read model and puts the new build under its views; with `back`, the one that was there before.

    Raises:
        RebuildUnderWay: somebody else is doing so.
        BadTables: the projection's tables have changed and its version has not.
        EventsLost: the streams lack events, and no operator has accepted that.
        NothingKept: there is none to go back to.
        Unavailable: the database or NATS were away for too long; the next call goes on where this one stopped.
    """
    return await _Rebuild(projection, nc, database_url, report, back).run()


class _Rebuild:
    def __init__(self, projection: type[Projection], nc: NATS, database_url: str, report: Report, back: bool) -> None:
        self._projection = projection
        self._nc = nc
        self._database_url = database_url
        self._tell = report
        self._back = back
        self._begun = time.monotonic()
        # Since when one attempt after the other has failed, and since when the present one is at work.
        self._failing: float | None = None
        self._at_work: float | None = None
        self._progress = Progress(0, 0, 0.0, None)
        # What is being filled, since it was found out, and what it replaces.
        self._build: Build | None = None
        self._replaced: Build | None = None
        self._events = 0

    async def run(self) -> Rebuilt:
        while True:
            try:
                return await self._attempt()
            except (DatabaseError, RebuildUnderWay, BuildSuperseded, Unavailable) as error:
                # At first it is the operator who has to know; later on the database may only have been restarted, and
                # for a moment it still believes that the one who was connected before is there.
                if self._build is None or isinstance(error, _LASTING) or self._is_over(error):
                    if isinstance(error, DatabaseError | BuildSuperseded):
                        raise Unavailable(f"{self._projection.name}: {error}".partition("\n")[0]) from error
                    raise
                log.warning("%s: %s; again in a moment", self._projection.name, error)
            self._tell(msgspec.structs.replace(self._progress, waits_for="the database to answer"))
            await asyncio.sleep(_PAUSE_SECONDS)

    def _is_over(self, error: Exception) -> bool:
        """Whether the patience is used up. Indexes and long readers may take any time in which no event is applied:
        what counts is the time since the first failure behind which nothing has gone well."""
        now, began = time.monotonic(), self._at_work
        self._at_work = None
        worked_long = began is not None and now - began > _PATIENCE_SECONDS
        if worked_long and isinstance(error, Unavailable):
            # The streams have had their minute already.
            return True
        if self._failing is None or worked_long:
            self._failing = now
        return now - self._failing > _PATIENCE_SECONDS

    async def _attempt(self) -> Rebuilt:
        conn = await connect(self._database_url, f"rebuild {self._projection.name}")
        try:
            await ensure_schema(conn)
            if not await try_lock(conn, rebuild_lock(self._projection)):
                raise RebuildUnderWay(self._projection.name, "another rebuild")
            await discards.catch_up(conn, self._nc, self._projection.name)
            if await self._has_switched(conn):
                return await self._result(conn)
            self._replaced = await cutover.live_build(conn, self._projection)
            self._build = await (self._kept(conn) if self._back else self._claim(conn))
            try:
                await self._fill(conn, self._build)
            except (BadTables, EventsLost):
                # Its columns will never do, and a stream that was mended has to be read from its beginning.
                if self._build.state is BuildState.BUILDING:
                    await cutover.drop_build(conn, self._projection, self._build)
                raise
            return await self._result(conn)
        finally:
            await close_and_unlock(conn)

    async def _has_switched(self, conn: Connection) -> bool:
        """Whether the connection was lost at the very moment of the switch, behind its commit."""
        live = await cutover.live_build(conn, self._projection)
        return self._build is not None and live is not None and live.identity == self._build.identity

    async def _kept(self, conn: Connection) -> Build:
        """The build that was live before the one that is."""
        kept = await builds.retired(conn, self._projection.name, self._projection.version)
        if self._replaced is None or not kept:
            raise NothingKept(self._projection)
        return kept[0]

    async def _claim(self, conn: Connection) -> Build:
        """The build to fill: an interrupted one or a new one."""
        if not await self._may_fill(conn):
            raise RebuildUnderWay(self._projection.name, "its service")
        await cutover.drop_retired_builds(conn, self._projection)
        return await cutover.resume_or_start(conn, self._projection)

    async def _may_fill(self, conn: Connection) -> bool:
        """Without a live build it is the runner's lock that says who fills the first; it may go live meanwhile."""
        return (
            await cutover.live_build(conn, self._projection) is not None
            or await try_lock(conn, runner_lock(self._projection))
            or await cutover.live_build(conn, self._projection) is not None
        )

    async def _fill(self, conn: Connection, build: Build) -> None:
        self._at_work = time.monotonic()
        filling = await BuildWriter.open(conn, self._projection, build)
        tracking = await ProgressTracker.resume(conn, build)
        switcher = await connect(self._database_url, f"switch {self._projection.name}")
        try:
            takeover = CatchUp(self._projection, self._nc, filling, tracking, switcher, self._report)
            try:
                await takeover.run()
            finally:
                self._events += takeover.events
        finally:
            await switcher.close()

    def _report(self, progress: Progress) -> None:
        if progress.events > self._progress.events:
            self._failing = None
        self._progress = progress
        self._tell(progress)

    async def _result(self, conn: Connection) -> Rebuilt:
        assert self._build is not None
        await cutover.drop_retired_builds(conn, self._projection)
        position: Position = await builds.checkpoints(conn, self._build)
        live = msgspec.structs.replace(self._build, state=BuildState.LIVE)
        seconds = time.monotonic() - self._begun
        return Rebuilt(
            projection=self._projection.name,
            version=self._projection.version,
            build=self._build.build,
            replaced=None if self._replaced is None else self._replaced.build,
            position=dict(position.sequences),
            events=self._events,
            seconds=round(seconds, 3),
            events_per_second=round(self._events / seconds, 1) if seconds else 0.0,
            dead_letters=sum((await dead_letters.load_state(conn, live)).counts),
        )
