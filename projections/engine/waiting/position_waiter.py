"""Waits until a read model has reached a position, without a poll per caller.

After each commit the runner notifies its own process directly, and the others by a NATS message. Core NATS messages may
be lost, and a process may have subscribed after the last one. So while callers wait, the checkpoint is also read from
the database: shortly after the first caller arrives, then once per second, with one query for all callers. A caller
that starts to wait publishes a wake-up, so that the runner applies the next batch without a pause.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence

import msgspec
from nats.aio.client import Client as NATS
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError
from prometheus_client import Gauge
from psycopg import Error as DatabaseError

from contracts.errors import ReadModelBehind, error_text
from contracts.positions import Position
from infra.runtime.connections import Pool
from projections.engine import metrics
from projections.engine.apply.batch_pacing import BatchPacing
from projections.engine.projection import Projection
from projections.engine.waiting.wait_queue import CheckpointNotice, WaitQueue

__all__ = ["CheckpointNotice", "PositionWaiter", "subject_of"]

log = logging.getLogger(__name__)
# Notices usually arrive within milliseconds; the database is queried only if none has arrived by then.
_FIRST_CHECK_SECONDS = 0.025
_RECHECK_SECONDS = 1.0

_LIVE = """
SELECT b.identity::text, c.stream, c.sequence FROM projection_builds AS b
JOIN projection_checkpoints AS c USING (projection, version, build)
WHERE b.projection = %s AND b.version = %s AND b.state = 'live'
"""
_HAS_BUILDS = "SELECT to_regclass('projection_builds') IS NOT NULL"
_DECODER = msgspec.json.Decoder(CheckpointNotice)


def subject_of(projection: type[Projection]) -> str:
    return f"vestnik.projections.{projection.name}.v{projection.version}"


def _wakeup_subject(projection: type[Projection]) -> str:
    return f"{subject_of(projection)}.wanted"


class PositionWaiter:
    """Tracks the positions of read models in this process, and the callers that wait for them."""

    def __init__(self, projections: Sequence[type[Projection]], nc: NATS, pool: Pool) -> None:
        self._nc = nc
        self._pool = pool
        # Whether the database has had builds once; a query before that would be an error.
        self._has_builds = False
        self._subscriptions: list[Subscription] = []
        self._rooms = {projection.name: WaitQueue(projection) for projection in projections}
        self._pacings = {projection.name: BatchPacing(projection.rest_seconds) for projection in projections}
        # One task per queue with waiting callers.
        self._checks: dict[str, asyncio.Task[None]] = {}

    async def start(self) -> None:
        for room in self._rooms.values():
            wish, pacing = _wakeup_subject(room.projection), self._pacings[room.projection.name]
            self._subscriptions += [
                await self._nc.subscribe(subject_of(room.projection), cb=_listener(room)),
                await self._nc.subscribe(wish, cb=_caller(pacing)),
            ]
        # No notice can be missed once the server has the subscriptions.
        await self._nc.flush()

    async def stop(self) -> None:
        """Unsubscribes; callers that still wait run into their timeouts."""
        checks = list(self._checks.values())
        for check in checks:
            check.cancel()
        await asyncio.gather(*checks, return_exceptions=True)
        for subscription in self._subscriptions:
            if self._nc.is_connected:
                try:
                    await subscription.unsubscribe()
                except NatsError as error:
                    log.info("the connection to NATS has ended first: %s", error)
        self._subscriptions.clear()

    def notify(self, projection: type[Projection], reached: CheckpointNotice) -> None:
        """Wakes the callers whose position is reached."""
        self._rooms[projection.name].advance(reached)

    def known(self, projection: type[Projection]) -> CheckpointNotice:
        """The checkpoints that the read model is known to have; without I/O."""
        return self._rooms[projection.name].known

    def went_back(self, projection: type[Projection], reached: CheckpointNotice) -> None:
        """Notes that the database lacks commits that it had: later callers wait until they are made again."""
        self._rooms[projection.name].go_back(reached)

    def pacing(self, projection: type[Projection]) -> BatchPacing:
        """The pacing of the projection's batches, which reflects waiting callers of all processes."""
        return self._pacings[projection.name]

    def reached(self, projection: type[Projection], position: Position) -> bool:
        """Whether the read model is known to have reached the position; without I/O."""
        return self._rooms[projection.name].has(position)

    def waiting(self, projection: type[Projection]) -> int:
        """The number of callers that wait for the read model."""
        return len(self._rooms[projection.name])

    async def wait(self, projection: type[Projection], position: Position, timeout: float = 5.0) -> None:
        """Returns once the live read model has reached the position in the streams that it reads.

        Raises:
            ReadModelBehind: it was not reached within `timeout` seconds, or too many callers wait already.
        """
        room = self._rooms[projection.name]
        if room.has(position):
            return
        labels = (projection.name, str(projection.version))
        begun = time.monotonic()
        try:
            await self._wait_until(room, position, timeout, metrics.WAITING.labels(*labels))
        except ReadModelBehind:
            metrics.WAITED_IN_VAIN.labels(*labels).inc()
            raise
        metrics.WAIT_SECONDS.labels(*labels).observe(time.monotonic() - begun)

    async def _wait_until(self, room: WaitQueue, position: Position, timeout: float, waiting: Gauge) -> None:
        waiter = room.add(position)
        waiting.set(len(room))
        try:
            self._check(room)
            await self._call(room.projection)
            async with asyncio.timeout(timeout):
                await waiter.woken
        except TimeoutError as error:
            raise ReadModelBehind(retry_after=1) from error
        finally:
            room.remove(waiter)
            waiting.set(len(room))

    async def _call(self, projection: type[Projection]) -> None:
        self._pacings[projection.name].request_now()
        if self._nc.is_connected:
            await self._nc.publish(_wakeup_subject(projection))

    def _check(self, room: WaitQueue) -> None:
        name = room.projection.name
        if name not in self._checks:
            self._checks[name] = asyncio.create_task(self._read_while_waiting(room), name=f"waiting for {name}")

    async def _read_while_waiting(self, room: WaitQueue) -> None:
        try:
            pause = _FIRST_CHECK_SECONDS
            while True:
                await asyncio.sleep(pause)
                if not len(room):
                    return
                await self._read(room)
                pause = _RECHECK_SECONDS
        finally:
            # There is no await before this line, so no caller can rely on a check that is about to end.
            del self._checks[room.projection.name]

    async def _read(self, room: WaitQueue) -> None:
        try:
            async with self._pool.connection() as conn:
                if not self._has_builds:
                    self._has_builds = await (await conn.execute(_HAS_BUILDS)).fetchone() == (True,)
                if not self._has_builds:
                    return
                cursor = await conn.execute(_LIVE, (room.projection.name, room.projection.version))
                rows = await cursor.fetchall()
        except (DatabaseError, OSError) as error:
            log.warning("checkpoint of %s cannot be read: %s", room.projection.name, error_text(error))
            return
        if rows:
            room.advance(
                CheckpointNotice(str(rows[0][0]), {str(stream): int(str(sequence)) for _, stream, sequence in rows})
            )


def _listener(room: WaitQueue) -> Callable[[Msg], Awaitable[None]]:
    async def on_message(message: Msg) -> None:
        try:
            room.advance(_DECODER.decode(message.data))
        except msgspec.DecodeError:
            log.warning("not a notice of a projection on %s", message.subject)

    return on_message


def _caller(pacing: BatchPacing) -> Callable[[Msg], Awaitable[None]]:
    async def on_message(message: Msg) -> None:
        pacing.request_now()

    return on_message
