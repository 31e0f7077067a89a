"""The waiters for one read model, and its known position.

Each waiter is in the heap of the first stream that has not reached its sequence. A notice touches only the waiters that
it wakes or moves to another stream; thousands of waiters for an unreached position cost nothing.
"""

import asyncio
from collections.abc import Mapping
from heapq import heapify, heappop, heappush
from itertools import count

import msgspec

from contracts.errors import ReadModelBehind
from contracts.positions import Position
from projections.engine.projection import Projection

# Further callers are rejected immediately: a read model with this many waiters has a problem.
MOST_WAITING = 10_000


class CheckpointNotice(msgspec.Struct, frozen=True):
    """A build's checkpoints after a commit."""

    identity: str
    sequences: dict[str, int]

    def is_behind(self, other: "CheckpointNotice") -> bool:
        """Whether these are earlier checkpoints of the same build."""
        return self.identity == other.identity and any(
            self.sequences.get(stream, 0) < sequence for stream, sequence in other.sequences.items()
        )


class Waiter:
    """A waiting caller; `woken` completes when the position is reached."""

    __slots__ = ("position", "woken")

    def __init__(self, position: Position) -> None:
        self.position = position
        self.woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class WaitQueue:
    def __init__(self, projection: type[Projection]) -> None:
        self.projection = projection
        self._identity = ""
        self._sequences: dict[str, int] = {}
        self._waiters: set[Waiter] = set()
        # Heaps by stream, ordered by the awaited sequence; removed waiters are skipped.
        self._queues: dict[str, list[tuple[int, int, Waiter]]] = {stream: [] for stream in projection.filters()}
        self._arrivals = count()

    def __len__(self) -> int:
        return len(self._waiters)

    @property
    def known(self) -> CheckpointNotice:
        """The checkpoints that the read model is known to have."""
        return CheckpointNotice(self._identity, self._sequences)

    def go_back(self, reached: CheckpointNotice) -> None:
        """Replaces the known position with an earlier one of the same build; later callers wait again."""
        if reached.identity == self._identity:
            self._sequences = dict(reached.sequences)

    def has(self, position: Position) -> bool:
        """Whether the read model is known to have reached the position in the streams that it reads."""
        return self._missing_position(position) is None

    def add(self, position: Position) -> Waiter:
        """
        Raises:
            ReadModelBehind: too many callers wait already.
        """
        if len(self._waiters) >= MOST_WAITING:
            raise ReadModelBehind(retry_after=1)
        waiter = Waiter(position)
        self._waiters.add(waiter)
        self._enqueue(waiter)
        return waiter

    def remove(self, waiter: Waiter) -> None:
        self._waiters.discard(waiter)
        waiter.woken.cancel()
        for queue in self._queues.values():
            if len(queue) > 2 * len(self._waiters) + 100:
                queue[:] = [entry for entry in queue if not entry[2].woken.done()]
                heapify(queue)

    def advance(self, reached: CheckpointNotice) -> None:
        """Updates the known position and wakes waiters; another build's notice replaces the position."""
        if reached.identity == self._identity:
            self._sequences = _highest(self._sequences, reached.sequences)
        else:
            self._identity, self._sequences = reached.identity, dict(reached.sequences)
        for stream, queue in self._queues.items():
            known = self._sequences.get(stream, 0)
            while queue and queue[0][0] <= known:
                waiter = heappop(queue)[2]
                if not waiter.woken.done():
                    self._enqueue(waiter)

    def _enqueue(self, waiter: Waiter) -> None:
        lacking = self._missing_position(waiter.position)
        if lacking is None:
            waiter.woken.set_result(None)
        else:
            stream, sequence = lacking
            heappush(self._queues[stream], (sequence, next(self._arrivals), waiter))

    def _missing_position(self, position: Position) -> tuple[str, int] | None:
        """The first stream that has not reached the position, with the sequence it has to reach; None: all have."""
        for stream, sequence in position.sequences.items():
            if stream in self._queues and sequence > self._sequences.get(stream, 0):
                return stream, sequence
        return None


def _highest(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {stream: max(one.get(stream, 0), other.get(stream, 0)) for stream in {**one, **other}}
