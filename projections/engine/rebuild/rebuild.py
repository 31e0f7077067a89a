"""Rebuilds a read model beside the live one and cuts over to it, or back to the previous one, without downtime.

An interrupted rebuild resumes where it stopped: in the same call after a short loss of the database, in the next call
if the call itself was killed. If the version has no live build yet, its first build is filled, unless a service is
doing that. A rollback fills the previously live build from its checkpoints.
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
from projections.engine.apply.build_writer import BuildWriter
from projections.engine.apply.errors import BuildSuperseded
from projections.engine.dead_letters import discards
from projections.engine.erasing import ErasingProjection
from projections.engine.projection import Projection
from projections.engine.reading import begin
from projections.engine.rebuild import cutover, kept_builds
from projections.engine.rebuild.catch_up import CatchUp
from projections.engine.rebuild.progress import Progress, ProgressTracker, Report, ignore_progress
from projections.engine.rebuild.rate_limit import RateLimit
from projections.engine.storage import builds, dead_letters, pauses
from projections.engine.storage.builds import Build, BuildState, Connection
from projections.engine.storage.connections import close_and_unlock, connect, rebuild_lock, runner_lock, try_lock
from projections.engine.storage.lost_events import EventsLost
from projections.engine.storage.schema import ensure_schema
from projections.engine.storage.tables import BadTables

log = logging.getLogger(__name__)
# How long the database may be unreachable, or another process may hold the locks, before the call fails.
_PATIENCE_SECONDS = 60.0
# The database's errors about rows, for example that they cannot be indexed; a retry does not help.
_LASTING = (errors.DataError, errors.ProgramLimitExceeded)
_PAUSE_SECONDS = 0.25


class RebuildUnderWay(OperatorError):
    """Another process is building this read model."""

    def __init__(self, projection: str, by: str) -> None:
        super().__init__(f"{projection} is being built already, by {by}; `vestnik status` shows its progress")


class NothingKept(OperatorError):
    """There is no build to roll back to."""

    def __init__(self, projection: type[Projection]) -> None:
        kept = f"no previous build of {projection.name} version {projection.version} is kept"
        if issubclass(projection, ErasingProjection) and projection.erasures:
            days = kept_builds.KEPT_AFTER_ERASURE.days
            kept += f"; one that has data of a user who was erased is dropped {days} days after the erasure"
        super().__init__(kept)


class Rebuilt(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a rebuild or rollback."""

    projection: str
    version: int
    build: int
    # The previously live build, which is kept until the next rebuild.
    replaced: int | None
    position: dict[str, int]
    # Read by this call, and its duration.
    events: int
    seconds: float
    events_per_second: float
    # Events that failed, or are parked behind a failed one.
    dead_letters: int


async def rebuild(
    projection: type[Projection],
    nc: NATS,
    database_url: str,
    report: Report = ignore_progress,
    *,
    back: bool = False,
    most_per_second: int | None = None,
) -> Rebuilt:
    """Rebuilds the read model and cuts over to the new build; with `back`, to the previous one.

    `most_per_second`: how many events it may apply until it has caught up; None: as many as it can.

    Raises:
        RebuildUnderWay: another process is building it.
        BadTables: the projection's tables have changed and its version has not.
        BadBegin, NotBegun: it has begun elsewhere than its class says, or not yet.
        EventsLost: the streams lack events, and no operator has accepted the loss.
        NothingKept: there is no build to roll back to.
        Unavailable: the database or NATS was unreachable for too long; the next call resumes.
    """
    return await _Rebuild(projection, nc, database_url, report, back, most_per_second).run()


class _Rebuild:
    def __init__(
        self,
        projection: type[Projection],
        nc: NATS,
        database_url: str,
        report: Report,
        back: bool,
        most_per_second: int | None,
    ) -> None:
        # Kept over several attempts.
        self._limit = None if most_per_second is None else RateLimit(most_per_second)
        self._projection = projection
        self._nc = nc
        self._database_url = database_url
        self._on_progress = report
        self._back = back
        self._begun = time.monotonic()
        # Start of the current series of failures, and of the current attempt's work.
        self._failing: float | None = None
        self._at_work: float | None = None
        self._progress = Progress(0, 0, 0.0, None)
        # The build being filled, once it is known, and the one it replaces.
        self._build: Build | None = None
        self._replaced: Build | None = None
        self._events = 0

    async def run(self) -> Rebuilt:
        while True:
            try:
                return await self._attempt()
            except (DatabaseError, RebuildUnderWay, BuildSuperseded, Unavailable) as error:
                # An error before the build is known goes to the operator. A later one may come from a restart of the
                # database, which may treat the previous connection as alive for a short time.
                if self._build is None or isinstance(error, _LASTING) or self._is_over(error):
                    if isinstance(error, DatabaseError | BuildSuperseded):
                        raise Unavailable(f"{self._projection.name}: {error}".partition("\n")[0]) from error
                    raise
                log.warning("%s: %s; retrying", self._projection.name, error)
            self._on_progress(msgspec.structs.replace(self._progress, waits_for="the database to answer"))
            await asyncio.sleep(_PAUSE_SECONDS)

    def _is_over(self, error: Exception) -> bool:
        """Whether to stop retrying, `_PATIENCE_SECONDS` after the first failure since the last progress.

        An attempt that has worked for longer than that counts as progress, since indexes and long readers may take any
        time without an event being applied.
        """
        now, began = time.monotonic(), self._at_work
        self._at_work = None
        worked_long = began is not None and now - began > _PATIENCE_SECONDS
        if worked_long and isinstance(error, Unavailable):
            # The attempt has already waited a minute for the streams.
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
                # Its columns cannot be corrected, and a repaired stream has to be read from the beginning.
                if self._build.state is BuildState.BUILDING:
                    await cutover.drop_build(conn, self._projection, self._build)
                raise
            return await self._result(conn)
        finally:
            await close_and_unlock(conn)

    async def _has_switched(self, conn: Connection) -> bool:
        """Whether the cutover was committed before the connection was lost."""
        live = await cutover.live_build(conn, self._projection)
        return self._build is not None and live is not None and live.identity == self._build.identity

    async def _kept(self, conn: Connection) -> Build:
        """The last complete build that was replaced."""
        kept = await kept_builds.kept(conn, self._projection)
        if self._replaced is None or not kept:
            raise NothingKept(self._projection)
        return kept[0]

    async def _claim(self, conn: Connection) -> Build:
        """The build to fill: an interrupted one or a new one."""
        if not await self._may_fill(conn):
            paused = await pauses.get(conn, self._projection.name, self._projection.version) is not None
            raise RebuildUnderWay(self._projection.name, "its service, which is paused" if paused else "its service")
        after = await begin.required(self._nc, self._projection)
        await kept_builds.drop_superseded(conn, self._projection)
        return await cutover.resume_or_start(conn, self._projection, after)

    async def _may_fill(self, conn: Connection) -> bool:
        """Whether this call may fill a build; it needs a live build or the runner's lock. One may go live meanwhile."""
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
            takeover = CatchUp(self._projection, self._nc, filling, tracking, switcher, self._report, self._limit)
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
        self._on_progress(progress)

    async def _result(self, conn: Connection) -> Rebuilt:
        assert self._build is not None
        await kept_builds.drop_superseded(conn, self._projection)
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
