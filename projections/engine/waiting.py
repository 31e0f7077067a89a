"""Waiting until a read model has reached a position, without asking again and again.

Whoever applies a batch says so, in the process at once and to all others by a NATS message after the commit. A waiter
is on the list before it reads the checkpoint, so that no commit falls between the two; a message that was lost
(messages outside of JetStream may be) costs a re-check after a second, never a wait for ever.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence

import msgspec
from nats.aio.client import Client as NATS
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from psycopg import OperationalError
from psycopg.errors import UndefinedTable

from contracts.errors import ReadModelBehind
from contracts.positions import Position
from infra.connections import Pool
from projections.engine.projection import Projection

log = logging.getLogger(__name__)
RECHECK_SECONDS = 1.0

_LIVE = """
SELECT b.identity::text, c.stream, c.sequence FROM projection_builds AS b
JOIN projection_checkpoints AS c USING (projection, version, build)
WHERE b.projection = %s AND b.version = %s AND b.state = 'live'
"""


class Reached(msgspec.Struct, frozen=True):
    """A build's checkpoints after a commit."""

    identity: str
    sequences: dict[str, int]


_DECODER = msgspec.json.Decoder(Reached)


def subject_of(projection: type[Projection]) -> str:
    return f"vestnik.projections.{projection.name}.v{projection.version}"


class Waiting:
    """What is known in this process of how far read models are, and who waits for more."""

    def __init__(self, projections: Sequence[type[Projection]], nc: NATS, pool: Pool) -> None:
        self._nc = nc
        self._pool = pool
        self._subscriptions: list[Subscription] = []
        self._rooms = {projection.name: _Room(projection) for projection in projections}

    async def start(self) -> None:
        for room in self._rooms.values():
            self._subscriptions.append(await self._nc.subscribe(subject_of(room.projection), cb=room.heard))
        # Only when the server has the subscriptions can no notice be missed.
        await self._nc.flush()

    async def stop(self) -> None:
        for subscription in self._subscriptions:
            if self._nc.is_connected:
                await subscription.unsubscribe()
        self._subscriptions.clear()

    def moved(self, projection: type[Projection], reached: Reached) -> None:
        """Wakes whoever waited for this."""
        self._rooms[projection.name].learn(reached)

    def applied_here(self, projection: type[Projection], here: bool) -> None:
        """Says whether this process applies the projection, and thus knows its checkpoint without a look."""
        self._rooms[projection.name].applied_here = here

    def reached(self, projection: type[Projection], position: Position) -> bool:
        """Whether the read model is known to have reached the position; costs nothing."""
        return self._rooms[projection.name].has(position)

    async def wait(self, projection: type[Projection], position: Position, timeout: float = 5.0) -> None:
        """Returns once the live read model has reached the position in the streams that it reads.

        Raises:
            ReadModelBehind: it has not within `timeout` seconds.
        """
        room = self._rooms[projection.name]
        if room.has(position):
            return
        waiter = room.enter(position)
        try:
            async with asyncio.timeout(timeout):
                if not room.applied_here:
                    await self._look(room)
                while not room.has(position):
                    await asyncio.wait([waiter], timeout=RECHECK_SECONDS)
                    if not waiter.done():
                        await self._look(room)
        except TimeoutError as error:
            raise ReadModelBehind(retry_after=1) from error
        finally:
            room.leave(waiter)

    async def _look(self, room: "_Room") -> None:
        """Reads the checkpoints, once for all who wait at this moment."""
        if room.looking is None:
            room.looking = asyncio.create_task(self._read(room))
            room.looking.add_done_callback(room.looked)
        await asyncio.shield(room.looking)

    async def _read(self, room: "_Room") -> None:
        try:
            async with self._pool.connection() as conn:
                cursor = await conn.execute(_LIVE, (room.projection.name, room.projection.version))
                rows = await cursor.fetchall()
        except (OperationalError, UndefinedTable) as error:
            log.warning("checkpoint of %s cannot be read: %s", room.projection.name, error)
            return
        if rows:
            room.learn(Reached(str(rows[0][0]), {str(stream): int(str(sequence)) for _, stream, sequence in rows}))


class _Room:
    """Who waits for one projection."""

    def __init__(self, projection: type[Projection]) -> None:
        self.projection = projection
        self.applied_here = False
        self.looking: asyncio.Task[None] | None = None
        self._streams = frozenset(projection.filters())
        self._identity = ""
        self._sequences: dict[str, int] = {}
        self._waiters: dict[asyncio.Future[None], Position] = {}

    def has(self, position: Position) -> bool:
        return all(
            sequence <= self._sequences.get(stream, 0)
            for stream, sequence in position.sequences.items()
            if stream in self._streams
        )

    def learn(self, reached: Reached) -> None:
        """Takes notice; another build's word replaces what was known, since its tables are others."""
        if reached.identity == self._identity:
            merged = _highest(self._sequences, reached.sequences)
        else:
            merged = dict(reached.sequences)
        self._identity, self._sequences = reached.identity, merged
        for waiter, position in self._waiters.items():
            if not waiter.done() and self.has(position):
                waiter.set_result(None)

    async def heard(self, message: Msg) -> None:
        try:
            self.learn(_DECODER.decode(message.data))
        except msgspec.DecodeError:
            log.warning("not a notice of a projection on %s", message.subject)

    def enter(self, position: Position) -> asyncio.Future[None]:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters[waiter] = position
        return waiter

    def leave(self, waiter: asyncio.Future[None]) -> None:
        del self._waiters[waiter]
        waiter.cancel()

    def looked(self, task: asyncio.Task[None]) -> None:
        self.looking = None


def _highest(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {stream: max(one.get(stream, 0), other.get(stream, 0)) for stream in {**one, **other}}
