"""Fills a build up to the end of its streams and keeps it current until it has replaced the live one."""

import asyncio
import logging
import time
from contextlib import aclosing

import msgspec
from nats.aio.client import Client as NATS
from nats.errors import Error as NatsError

from contracts.errors import Unavailable, error_text
from contracts.positions import Position
from projections.engine.apply.build_writer import BuildWriter
from projections.engine.apply.pipeline import Pipeline
from projections.engine.projection import Projection
from projections.engine.reading.stream_sources import LIMIT, SILENCE_SECONDS, Sources, end_of
from projections.engine.rebuild import cutover, reader_activity
from projections.engine.rebuild.progress import ProgressTracker, Report
from projections.engine.rebuild.rate_limit import RateLimit
from projections.engine.storage import lost_events, tables
from projections.engine.storage.builds import Build, Connection
from projections.engine.storage.lost_events import EventsLost
from projections.engine.waiting.position_waiter import CheckpointNotice, subject_of

log = logging.getLogger(__name__)
# How long the live build may be locked while the new one applies the last events; its service applies nothing then.
_HOLD_SECONDS = 2.0
# Maximum events in a batch from the first attempt of the cutover on: a few tens of milliseconds.
_EVENTS_AT_CUTOVER = 2_000
# Pause between two attempts of the cutover: first and longest.
_PAUSE_SECONDS = (0.05, 1.0)
_STEP_SECONDS = 3.0
# How often to check whether a throttled build gets closer to the end.
_GAIN_SECONDS = 5.0


class CatchUp:
    def __init__(
        self,
        projection: type[Projection],
        nc: NATS,
        filling: BuildWriter,
        tracking: ProgressTracker,
        switcher: Connection,
        report: Report,
        limit: RateLimit | None = None,
    ) -> None:
        """
        `switcher`: a connection for the cutover, separate from the writer's.
        `limit`: of the events until the build has caught up once.
        """
        self._limit = limit
        self._projection = projection
        self._nc = nc
        self._filling = filling
        self._tracking = tracking
        self._switcher = switcher
        self._report = report
        # Number of events read so far.
        self.events = 0
        # A step of the cutover, which may outlast its attempt.
        self._unfinished: asyncio.Task[bool] | None = None
        self._last_batch_at = time.monotonic()
        # Whether fewer events were left at each check than at the previous one; time and result of the last check.
        self._gains = True
        self._gain_checked_at = time.monotonic()
        self._left_then = float("inf")

    async def run(self) -> None:
        """Returns when the build is live.

        Raises:
            BadTables: the columns differ from those of the views.
            Unavailable: the streams were unreachable for too long.
            EventsLost: the streams lack events, and no operator has accepted the loss.
            BuildSuperseded, psycopg.Error: retry with the state in the database.
        """
        limit = self._limit
        sources = Sources(
            self._nc,
            self._projection.filters(),
            self._filling.position,
            name=f"rebuild-{self._projection.name}",
            limit=LIMIT if limit is None else min(LIMIT, limit.per_second),
            reads_all=True,
        )
        most = None if limit is None else limit.per_second
        async with Pipeline(sources, self._filling, most=most) as pipeline, aclosing(self):
            await self._catch_up(pipeline)
            await self._assert_whole()
            await self._report_progress(pipeline, 0, "its indexes")
            if pipeline.among_readers:
                await reader_activity.disable_parallel_index_builds(self._switcher)
            if await tables.add_indexes(self._switcher, self._projection, self._filling.build):
                await self._follow(pipeline, _PAUSE_SECONDS[0], None)
                await self._catch_up(pipeline)

            # From here on the live build may have to wait for this one: no throttling, and small batches.
            pipeline.among_readers = False
            pipeline.hurry(_EVENTS_AT_CUTOVER)
            self._limit = None
            if await cutover.live_build(self._switcher, self._projection) is None:
                await self._complete(pipeline)

            async def catch_up(target: Position) -> bool:
                return await self._catch_up_to(pipeline, target)

            pause = _PAUSE_SECONDS[0]
            while True:
                # During a long read an attempt would only block other readers; the build keeps up meanwhile.
                reader = await cutover.blocking_reader(self._switcher, self._projection)
                if reader is None:
                    await self._assert_whole()
                    if await cutover.cut_over(self._switcher, self._projection, self._filling.build, catch_up):
                        break
                    pause = min(pause * 2, _PAUSE_SECONDS[1])
                await self._follow(pipeline, pause, reader)
        await announce(self._nc, self._projection, self._filling.build, self._filling.position)

    async def _catch_up(self, pipeline: Pipeline) -> None:
        """Applies events until near the end; terminates, since applying is faster than appending."""
        while not pipeline.is_near_end:
            self._check_progress(pipeline)
            pipeline.among_readers = self._gains and await reader_activity.has_active_readers(self._switcher)
            await self._apply_next(pipeline)

    async def _assert_whole(self) -> None:
        gaps = await lost_events.found(self._switcher, self._filling.build)
        gaps = await lost_events.unaccepted(self._nc, gaps)
        if gaps:
            raise EventsLost(self._projection.name, gaps)

    async def _complete(self, pipeline: Pipeline) -> None:
        """Applies all events up to the current ends; a first build has no live build's checkpoint as its target."""
        goal = Position({stream: await end_of(self._nc, stream) for stream in self._projection.filters()})
        while not (pipeline.at_end or self._filling.position.covers(goal)):
            await self._apply_next(pipeline)

    async def _apply_next(self, pipeline: Pipeline) -> None:
        """Applies the next batch, or reports that none has arrived."""
        if not await self._step(pipeline, _STEP_SECONDS):
            await self._report_progress(pipeline, 0, "NATS to answer")

    def _check_progress(self, pipeline: Pipeline) -> None:
        """Stops throttling permanently once the backlog no longer shrinks, since the build would never catch up."""
        now = time.monotonic()
        if pipeline.is_counted and now - self._gain_checked_at >= _GAIN_SECONDS:
            self._gains = self._gains and pipeline.left < self._left_then
            self._gain_checked_at, self._left_then = now, pipeline.left

    async def aclose(self) -> None:
        """Stops a step that has not ended."""
        if self._unfinished is not None:
            self._unfinished.cancel()
            await asyncio.gather(self._unfinished, return_exceptions=True)

    async def _step(self, pipeline: Pipeline, seconds: float, waits_for: str | None = None) -> bool:
        """Applies the next batch; False if none arrived in time."""
        if self._unfinished is not None:
            unfinished, self._unfinished = self._unfinished, None
            return await unfinished
        return await self._advance(pipeline, seconds, waits_for)

    async def _advance(self, pipeline: Pipeline, seconds: float, waits_for: str | None = None) -> bool:
        if self._limit is not None:
            await self._limit.wait()
        batch = await pipeline.step(seconds)
        if batch is None:
            if time.monotonic() - self._last_batch_at > SILENCE_SECONDS:
                raise Unavailable("NATS does not answer.")
            return False
        self.events += batch.events
        if self._limit is not None:
            self._limit.spend(batch.events)
        await self._report_progress(pipeline, batch.events, waits_for)
        self._last_batch_at = time.monotonic()
        return True

    async def _report_progress(self, pipeline: Pipeline, events: int, waits_for: str | None) -> None:
        left = pipeline.left if pipeline.is_counted else None
        progress = await self._tracking.moved(events, left, waits_for)
        if progress is not None:
            limit = None if self._limit is None else self._limit.per_second
            self._report(msgspec.structs.replace(progress, most_per_second=limit))

    async def _catch_up_to(self, pipeline: Pipeline, target: Position) -> bool:
        """Applies up to the position at which the live build is locked; False if that takes too long.

        A write that takes too long is not interrupted, since that would end the pipeline: it goes on without the lock.
        """
        deadline = time.monotonic() + _HOLD_SECONDS
        while not self._filling.position.covers(target):
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            # Known to `aclose` before anything is waited for: this attempt may be cancelled.
            step = self._unfinished = self._unfinished or asyncio.create_task(self._advance(pipeline, left))
            await asyncio.wait([step], timeout=left)
            if not step.done():
                return False
            self._unfinished = None
            if not step.result():
                return False
        return True

    async def _follow(self, pipeline: Pipeline, seconds: float, waits_for: str | None) -> None:
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            await self._step(pipeline, left, waits_for)


async def announce(nc: NATS, projection: type[Projection], build: Build, position: Position) -> None:
    """Notifies the services' processes of the new live build and its position.

    If the notice cannot be sent, they detect it by themselves within a second.
    """
    reached = CheckpointNotice(build.identity, dict(position.sequences))
    try:
        await nc.publish(subject_of(projection), msgspec.json.encode(reached))
        await nc.flush(timeout=2)
    except (NatsError, OSError) as error:
        log.warning("%s: no notice of the cutover could be sent: %s", projection.name, error_text(error))
