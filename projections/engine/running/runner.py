"""Runs one projection: keeps its read model up to date, in one process at a time.

Every replica has a runner. The one that holds the lock is active and applies events, the others are standbys and retry
the lock. After a lost connection the runner restarts from the checkpoint in the database, with exponential backoff.
"""

import asyncio
import logging
import time

import msgspec
from nats.aio.client import Client as NATS

from contracts.errors import KeysUnavailable
from contracts.positions import Position
from infra.url_files import DatabaseUrl
from projections.engine.apply.build_writer import BuildWriter
from projections.engine.apply.errors import BuildSuperseded, ProjectionPaused
from projections.engine.apply.event_spans import record_spans
from projections.engine.apply.pipeline import Pipeline
from projections.engine.dead_letters import discards
from projections.engine.metrics import ProjectionMetrics
from projections.engine.projection import Projection
from projections.engine.reading.shared_reader import SharedReaders
from projections.engine.reading.stream_sources import Sources
from projections.engine.rebuild import cutover
from projections.engine.rebuild.progress import ProgressTracker
from projections.engine.running import last_errors
from projections.engine.running.backlog import backlog_after
from projections.engine.running.catch_up_goal import CatchUpGoal
from projections.engine.running.faults import is_fault
from projections.engine.running.first_start import begin_with_first_event, settle_begin
from projections.engine.running.last_errors import LastError
from projections.engine.running.sweeper import Sweeper
from projections.engine.storage import builds, lost_events, pauses, tables
from projections.engine.storage.builds import Build, BuildState, Connection
from projections.engine.storage.connections import close_and_unlock, connect, runner_lock, set_idle_timeouts, try_lock
from projections.engine.storage.lost_events import EventsLost
from projections.engine.storage.schema import ensure_schema
from projections.engine.waiting.position_waiter import CheckpointNotice, PositionWaiter, subject_of
from streams.cancellation import stop_if_cancelled
from streams.reader import StreamWentBack

log = logging.getLogger(__name__)
# Between two attempts of a standby to get the lock, and between two checks of the rest once it is ready.
_STANDBY_SECONDS, _STANDBY_CHECK_SECONDS = 0.5, 2.0
# How often the active runner shows the database that it is alive.
_SIGN_SECONDS = 1.0
# Maximum events in a batch of a live build: requests share the processor with it. A build that is not live yet is
# filled as fast as possible.
_MOST_WHEN_LIVE = 4_000
_BACKOFF_SECONDS = (0.05, 5.0)
# Pause while a key of personal data cannot be had.
_KEYS_SECONDS = 1.0
# How often to check whether an operator has accepted the known losses.
_LOSSES_SECONDS = 10.0
# How often the active runner of a paused projection counts the events that are not applied.
_COUNT_SECONDS = 10.0
# Consecutive faults after which a projection has failed. A single one may be caused by a wipe of the database.
_FAULTS_OF_A_FAILURE = 3


class Runner:
    def __init__(
        self,
        projection: type[Projection],
        nc: NATS,
        database_url: DatabaseUrl,
        waiting: PositionWaiter,
        sharing: SharedReaders,
    ) -> None:
        self._projection = projection
        self._sharing = sharing
        self._nc = nc
        self._database_url = database_url
        self._waiting = waiting
        self._backoff = _BACKOFF_SECONDS[0]
        self._figures = ProjectionMetrics(projection)
        # The last error, until it is recorded in the database.
        self._error: LastError | None = None
        self._goal = CatchUpGoal(nc, projection)
        # Whether this process can serve reads: the version has a live build that has caught up, here or in the active
        # replica.
        self.ready = False
        # Whether the last build that it applied events to was live.
        self._is_live = False
        # Whether an operator has paused the projection.
        self.paused = False
        # Whether the active runner lacks a key of personal data; until it has caught up.
        self.waits_for_keys = False
        # Whether this process is the active one.
        self.leading = False
        self._faults = 0
        # Whether the recovery is recorded in the database, since it became the active one or the last fault.
        self._is_recovered = False

    @property
    def failed(self) -> bool:
        """Whether the projection fails repeatedly because of its code; it retries, and recovers with the next batch."""
        return self._faults >= _FAULTS_OF_A_FAILURE

    async def run(self) -> None:
        """Runs until cancelled. Retries with backoff after any error; an error does not affect the process."""
        while True:
            try:
                await self._take_part()
            except Exception as error:
                stop_if_cancelled()
                self._note(error)
            await asyncio.sleep(self._backoff)
            self._backoff = min(self._backoff * 2, _BACKOFF_SECONDS[1])

    def _note(self, error: Exception) -> None:
        if is_fault(error):
            self._faults += 1
            self._is_recovered = False
        first = self._faults == _FAULTS_OF_A_FAILURE
        log.log(
            logging.ERROR if first else logging.WARNING,
            "%s: %s; retrying in %.2f s",
            self._projection.name,
            error,
            self._backoff,
            exc_info=error if first else None,
        )
        self._figures.error(failed=self.failed)
        self._error = LastError.now(error)
        self.waits_for_keys = isinstance(error, KeysUnavailable)
        if isinstance(error, EventsLost | StreamWentBack):
            # An operator has to act.
            self._backoff = _BACKOFF_SECONDS[1]
        if self.waits_for_keys:
            # Events up to this one may have been applied, which resets the pause.
            self._backoff = max(self._backoff, _KEYS_SECONDS)
        if isinstance(error, StreamWentBack):
            # The live read model can still be read; the stream gets no new events meanwhile.
            self.ready = self._is_live

    async def _recover(self, conn: Connection) -> None:
        self._backoff = _BACKOFF_SECONDS[0]
        if not self._is_recovered:
            await last_errors.recovered(conn, self._projection.name, self._projection.version)
            self._is_recovered = True
            self._recovered()

    def _recovered(self) -> None:
        self._faults = 0
        self._figures.recovered()

    async def _take_part(self) -> None:
        conn = await connect(self._database_url, f"projection {self._projection.name}")
        try:
            await ensure_schema(conn)
            await self._record_error(conn)
            checked = float("-inf")
            while not await try_lock(conn, runner_lock(self._projection)):
                # Only the lock is urgent for a standby that is ready.
                if not self.ready or time.monotonic() - checked >= _STANDBY_CHECK_SECONDS:
                    await self._stand_by(conn)
                    checked = time.monotonic()
                await asyncio.sleep(_STANDBY_SECONDS)
            await set_idle_timeouts(conn)
            if self.failed:
                await last_errors.failing(conn, self._projection.name, self._projection.version)
            await discards.catch_up(conn, self._nc, self._projection.name)
            self._lead(True)
            while True:
                try:
                    await self._wait_while_paused(conn)
                    await self._apply(conn)
                except ProjectionPaused:
                    continue
                except BuildSuperseded:
                    log.info("%s: continues with the new live build", self._projection.name)
                    await asyncio.sleep(_BACKOFF_SECONDS[0])
        finally:
            self._lead(False)
            await close_and_unlock(conn)

    async def _stand_by(self, conn: Connection) -> None:
        """Notices what the active replica and operators have done."""
        self._figures.set_standby()
        await self._notice_pause(conn)
        self.ready = await self._is_caught_up(conn)
        self.waits_for_keys = not self.ready and await self._leader_waits_for_keys(conn)
        if self.ready and self._faults and not await self._is_failing(conn):
            self._recovered()
        self._backoff = _BACKOFF_SECONDS[0]

    async def _wait_while_paused(self, conn: Connection) -> None:
        """Returns when no pause is left; reports meanwhile what is not applied."""
        counted = float("-inf")
        while await self._notice_pause(conn):
            self.ready = await self._is_caught_up(conn)
            if time.monotonic() - counted >= _COUNT_SECONDS:
                known = await builds.builds_of(conn, self._projection.name, self._projection.version)
                position = self._goal.position or (await builds.checkpoints(conn, known[-1]) if known else Position())
                self._figures.count_paused(await backlog_after(self._nc, self._projection, position))
                counted = time.monotonic()
            await asyncio.sleep(_SIGN_SECONDS)

    async def _notice_pause(self, conn: Connection) -> bool:
        """Whether the projection is paused. What is applied then is all that readiness waits for."""
        paused = await pauses.get(conn, self._projection.name, self._projection.version) is not None
        if paused:
            live = await cutover.live_build(conn, self._projection)
            self._goal.position = None if live is None else await builds.checkpoints(conn, live)
        if paused != self.paused:
            log.info("%s is %s", self._projection.name, "paused" if paused else "resumed")
        self.paused = paused
        self._figures.set_paused(paused)
        return paused

    async def _is_caught_up(self, conn: Connection) -> bool:
        """Whether the live build, which another process fills, has reached the goal."""
        live = await cutover.live_build(conn, self._projection)
        if live is None:
            return False
        if self.ready:
            # Also if the live build was reset since.
            return True
        goal = await self._goal.determine()
        return goal is not None and (await builds.checkpoints(conn, live)).covers(goal)

    async def _record_error(self, conn: Connection) -> None:
        """Records the last error in the database, for the status."""
        if self._error is not None:
            await last_errors.record_error(conn, self._projection.name, self._projection.version, self._error)
            self._error = None

    async def _is_failing(self, conn: Connection) -> bool:
        """Whether the active replica, or the last one, says that the projection fails."""
        return await last_errors.failure(conn, self._projection.name, self._projection.version) is not None

    async def _leader_waits_for_keys(self, conn: Connection) -> bool:
        return await last_errors.waits_for_keys(conn, self._projection.name, self._projection.version)

    def _lead(self, leading: bool) -> None:
        self.leading = leading
        if leading:
            # Another replica may have recorded since that the projection fails.
            self._is_recovered = False
        self._figures.set_leader(leading)

    async def _apply(self, conn: Connection) -> None:
        """Applies events to the live build; without one, to the first build until it goes live."""
        build, is_begun = await self._build(conn)
        filling = await BuildWriter.open(conn, self._projection, build, obeys_pauses=True)
        await self._announce(filling)
        if not is_begun:
            await self._wait_for_first_event(conn, filling)
            return
        tracking = await ProgressTracker.resume(conn, build) if build.state is BuildState.BUILDING else None
        name = f"projection-{self._projection.name}"
        is_live = self._is_live = build.state is BuildState.LIVE
        if not is_live:
            self.ready = False  # also after the database of a ready read model was dropped
        # A build that is being filled does not share a reader.
        sharing = self._sharing if is_live else None
        sources = Sources(self._nc, self._projection.filters(), filling.position, name=name, sharing=sharing)
        most, pacing = (_MOST_WHEN_LIVE, self._waiting.pacing(self._projection)) if is_live else (None, None)
        lost = await self._check_losses(conn, build) if is_live else False
        sweeper = await Sweeper.open(conn, self._projection, build) if is_live else None
        async with Pipeline(sources, filling, most=most, pacing=pacing) as pipeline:
            self._figures.attach(pipeline, filling, is_live=is_live)
            checked_at = time.monotonic()
            while True:
                batch = await pipeline.step(_SIGN_SECONDS)
                if batch is not None and batch.moves:
                    await self._announce(filling)
                else:
                    await filling.check()
                if batch is None:
                    continue
                await self._recover(conn)
                self._figures.applied(batch)
                if is_live:
                    record_spans(self._projection.name, batch)
                if is_live and (batch.gaps or (lost and time.monotonic() - checked_at >= _LOSSES_SECONDS)):
                    lost, checked_at = await self._check_losses(conn, build), time.monotonic()
                if tracking is not None:
                    await tracking.moved(batch.events, pipeline.left if pipeline.is_counted else None)
                if not await self._has_caught_up(pipeline, filling):
                    continue
                if build.state is BuildState.LIVE:
                    self.ready, self.waits_for_keys = True, False
                    if sweeper is not None:
                        await sweeper.sweep(pipeline, filling)
                    continue
                await self._assert_whole(conn, build)
                await tables.add_indexes(conn, self._projection, build)
                if await cutover.cut_over(conn, self._projection, build, _nothing_to_catch_up):
                    return

    async def _check_losses(self, conn: Connection, build: Build) -> bool:
        """Reports the build's lost events that no operator has accepted; returns whether there are any."""
        gaps = await lost_events.unaccepted(self._nc, await lost_events.found(conn, build))
        self._figures.lost(sum(map(len, gaps)))
        if gaps:
            error = EventsLost(self._projection.name, gaps)
            log.error("%s", error)
            self._error = LastError.now(error)
            await self._record_error(conn)
        return bool(gaps)

    async def _assert_whole(self, conn: Connection, build: Build) -> None:
        """
        Raises:
            EventsLost: the streams lack events that no operator has accepted as lost.
            BuildSuperseded: some lost events are back, so the build is dropped and has to start from scratch.
        """
        gaps = await lost_events.unaccepted(self._nc, await lost_events.found(conn, build))
        self._figures.lost(sum(map(len, gaps)))
        if await lost_events.are_back(self._nc, gaps):
            await cutover.drop_build(conn, self._projection, build)
            raise BuildSuperseded("a stream was restored")
        if gaps:
            raise EventsLost(self._projection.name, gaps)

    async def _has_caught_up(self, pipeline: Pipeline, filling: BuildWriter) -> bool:
        """Whether the pipeline is at the end, or near it and past the goal: the ends when it first came near."""
        if pipeline.at_end or not pipeline.is_near_end:
            return pipeline.at_end
        goal = await self._goal.determine()
        return goal is None or filling.position.covers(goal)

    async def _build(self, conn: Connection) -> tuple[Build, bool]:
        """The live build; without one, the first build, resumed or new. Also whether it is known where it begins."""
        live = await cutover.live_build(conn, self._projection)
        after = await settle_begin(conn, self._nc, self._projection, live)
        if live is None:
            live = await cutover.resume_or_start(conn, self._projection, after or Position())
        return live, after is not None

    async def _wait_for_first_event(self, conn: Connection, filling: BuildWriter) -> None:
        """Serves an empty build until the streams have an event, with which it begins."""
        build = filling.build
        if build.state is BuildState.BUILDING:
            await tables.add_indexes(conn, self._projection, build)
            await cutover.cut_over(conn, self._projection, build, _nothing_to_catch_up)
            return
        self._is_live = self.ready = True
        await self._recover(conn)
        while not await begin_with_first_event(conn, self._nc, self._projection, build):
            await asyncio.sleep(_STANDBY_SECONDS)
            await filling.check()

    async def _announce(self, filling: BuildWriter) -> None:
        if filling.build.state is not BuildState.LIVE:
            return
        reached = CheckpointNotice(filling.build.identity, dict(filling.position.sequences))
        self._waiting.notify(self._projection, reached)
        if self._nc.is_connected:
            await self._nc.publish(subject_of(self._projection), msgspec.json.encode(reached))


async def _nothing_to_catch_up(position: Position) -> bool:
    raise AssertionError("the first build has no previous one")
