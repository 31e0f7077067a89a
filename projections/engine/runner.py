"""Keeps one read model up to date, for as long as the process lives and in one process at a time.

Every replica runs one of these; the one that holds the lock applies, the others stand by and try for the lock. Lost
connections are normal: the runner begins again from the checkpoint in the database, after a moment that grows.
"""

import asyncio
import logging

import msgspec
from nats.aio.client import Client as NATS
from nats.errors import Error as NatsError
from psycopg import Error as DatabaseError

from contracts.errors import VestnikError
from contracts.positions import Position
from projections.engine import builds, metrics, switching
from projections.engine.builds import Build, Connection, State
from projections.engine.connecting import connect, runner_lock, try_lock
from projections.engine.filling import Filling, Superseded
from projections.engine.projection import Projection
from projections.engine.sources import Sources
from projections.engine.waiting import Reached, Waiting, subject_of
from streams.inbox import RequestFailed
from streams.jetstream import Refused
from streams.reader import HistoryLost
from streams.topology import StreamMissing

log = logging.getLogger(__name__)
_STANDBY_SECONDS = 0.5
_BACKOFF_SECONDS = (0.05, 5.0)
# What a lost connection, a restarted server, a missing stream or a wiped database looks like; anything else is a fault
# of the program.
_PASSING = (
    DatabaseError,
    HistoryLost,
    NatsError,
    OSError,
    Refused,
    RequestFailed,
    StreamMissing,
    TimeoutError,
    VestnikError,
)


class Runner:
    def __init__(self, projection: type[Projection], nc: NATS, database_url: str, waiting: Waiting) -> None:
        self._projection = projection
        self._nc = nc
        self._database_url = database_url
        self._waiting = waiting
        self._backoff = _BACKOFF_SECONDS[0]
        # Whether readers can be sent to this process: the version has a live build, read to the end once.
        self.ready = False
        # Whether this process is the one that applies.
        self.leading = False

    async def run(self) -> None:
        """Runs until cancelled.

        Raises:
            tables.BadTables, and whatever else is wrong with the projection itself.
        """
        while True:
            try:
                await self._take_part()
            except _PASSING as error:
                log.warning("%s: %s; again in %.2f s", self._projection.name, error, self._backoff)
            await asyncio.sleep(self._backoff)
            self._backoff = min(self._backoff * 2, _BACKOFF_SECONDS[1])

    async def _take_part(self) -> None:
        conn = await connect(self._database_url, f"projection {self._projection.name}")
        try:
            await builds.ensure_schema(conn)
            while not await try_lock(conn, runner_lock(self._projection)):
                self.ready = await switching.live_build(conn, self._projection) is not None
                self._backoff = _BACKOFF_SECONDS[0]
                await asyncio.sleep(_STANDBY_SECONDS)
            self._lead(True)
            while True:
                try:
                    await self._apply(conn)
                except Superseded:
                    log.info("%s: goes on with the build that is live now", self._projection.name)
                    await asyncio.sleep(_BACKOFF_SECONDS[0])
        finally:
            self._lead(False)
            await conn.close()

    def _lead(self, leading: bool) -> None:
        self.leading = leading
        self._waiting.applied_here(self._projection, leading)

    async def _apply(self, conn: Connection) -> None:
        """Applies to the live build; to a first one until it has caught up and can go live."""
        build = await self._build(conn)
        filling = await Filling.open(conn, self._projection, build)
        await self._announce(filling)
        sources = Sources(
            self._nc, self._projection.filters(), filling.position, name=f"projection-{self._projection.name}"
        )
        async with sources:
            while True:
                stream, batch = await sources.next()
                before = filling.position.of(stream)
                await filling.apply(stream, batch.messages, batch.position)
                if batch.position > before:
                    await self._announce(filling)
                else:
                    await _assert_in_state(conn, build)
                self._count(stream, len(batch.messages), batch.pending, filling)
                if sources.at_end and build.state is State.BUILDING:
                    if await switching.switch(conn, self._projection, build, _nothing_to_catch_up):
                        return
                elif sources.at_end:
                    self.ready = True

    async def _build(self, conn: Connection) -> Build:
        """The live build; where there is none, the first one, however far it got."""
        return (
            await switching.live_build(conn, self._projection)
            or await switching.unfinished_build(conn, self._projection)
            or await switching.start_build(conn, self._projection)
        )

    async def _announce(self, filling: Filling) -> None:
        if filling.build.state is not State.LIVE:
            return
        reached = Reached(filling.build.identity, dict(filling.position.sequences))
        self._waiting.moved(self._projection, reached)
        if self._nc.is_connected:
            await self._nc.publish(subject_of(self._projection), msgspec.json.encode(reached))

    def _count(self, stream: str, events: int, pending: int, filling: Filling) -> None:
        self._backoff = _BACKOFF_SECONDS[0]
        name = self._projection.name
        metrics.LAG.labels(name, stream).set(pending)
        if events:
            metrics.EVENTS.labels(name).inc(events)
            metrics.BATCH.labels(name).observe(events)
            metrics.DEAD_LETTERS.labels(name).set(filling.blocked)


async def _assert_in_state(conn: Connection, build: Build) -> None:
    """Between batches too the runner notices that its connection is gone or its build was replaced."""
    cursor = await conn.execute(
        "SELECT 1 FROM projection_builds WHERE (projection, version, build) = (%s, %s, %s) AND state = %s",
        (*build.id, build.state.value),
    )
    if await cursor.fetchone() is None:
        raise Superseded


async def _nothing_to_catch_up(position: Position) -> bool:
    raise AssertionError("a first build has none before it")
