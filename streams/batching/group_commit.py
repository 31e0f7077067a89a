"""Group commit: what waits while appends are under way goes out as one atomic batch, without a timer.

A server that syncs every append to disk before it acknowledges does so once a message, but once a batch too. A batch
has a price of its own, so that a few appends are quicker by themselves: this is decided when there is room for the
next, by how many wait and by what both have cost (batch_price.py). An append is one event or several on one subject,
all or none of them; in a batch each keeps its own condition on its own subject, and whatever becomes of a batch that is
not plainly stored, each of its appends is settled by itself afterwards.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Generic, TypeVar

import msgspec

from streams.batching.batch_threshold import BatchThreshold

# Events in a batch, give or take those of one append: bounds what is lost when one stale condition refuses it.
_MOST = 128

T = TypeVar("T")


class Attempt(msgspec.Struct, frozen=True):
    """What became of something that had its turn."""

    # Of its first event, where a batch stored it; None: it has to be stored by itself.
    sequence: int | None = None
    # Whether a batch may have stored it, or may still do so.
    uncertain: bool = False


_ALONE = Attempt()

_Turn = tuple[Sequence[T], asyncio.Future[Attempt]]


class GroupCommit(Generic[T]):
    """The appends of one stream: lets a few through at once and gathers the others."""

    def __init__(
        self, together: Callable[[list[Sequence[T]]], Awaitable[list[Attempt]]], condition_on: Callable[[T], Hashable]
    ) -> None:
        """
        `together`: makes one attempt to store these appends as one batch, and fails with nothing.
        `condition_on`: what the condition of an event is about; one batch holds one condition on each.
        """
        self._loop = asyncio.get_running_loop()
        self._together = together
        self._condition_on = condition_on
        self._waiting: list[_Turn[T]] = []
        self._singles_in_flight = 0
        self._batch: asyncio.Task[None] | None = None
        self._flushing = False
        self._price = BatchThreshold()

    async def acquire(self, append: Sequence[T]) -> Attempt:
        """Waits for its turn; whoever was not stored in a batch must `leave` when it is settled.

        `append`: events that are stored in this order, all or none, on the condition of the first.
        """
        if self._singles_in_flight < self._price.minimum and not (self._waiting or self._batch or self._flushing):
            self._singles_in_flight += 1
            return _ALONE
        turn: asyncio.Future[Attempt] = self._loop.create_future()
        self._waiting.append((append, turn))
        self._flush_soon()
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.result().sequence is None:
                self.release()
            raise

    def release(self, seconds: float | None = None) -> None:
        """`seconds`: how long it took to be stored by itself, if it was."""
        self._singles_in_flight -= 1
        if seconds is not None:
            self._price.single(seconds)
        self._flush_soon()

    def _flush_soon(self) -> None:
        """Everyone who is awake already may come first: those whose batch has just returned come back together."""
        if self._waiting and not self._flushing and not self._batch:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        self._waiting = [(append, turn) for append, turn in self._waiting if not turn.done()]
        group = self._group()
        if _events(group) >= self._price.minimum:
            chosen = {id(turn) for _, turn in group}
            self._waiting = [entry for entry in self._waiting if id(entry[1]) not in chosen]
            self._batch = self._loop.create_task(self._send(group))
            return
        room = max(0, self._price.minimum - self._singles_in_flight)
        for _, turn in self._waiting[:room]:
            self._singles_in_flight += 1
            turn.set_result(_ALONE)
        del self._waiting[:room]

    def _group(self) -> list[_Turn[T]]:
        """The first of each subject among those who wait: a second one's condition would not count."""
        if _events(self._waiting) < self._price.minimum:
            return []
        first: dict[Hashable, _Turn[T]] = {}
        room = _MOST
        for turn in self._waiting:
            if room <= 0:
                break
            if (subject := self._condition_on(turn[0][0])) not in first:
                first[subject] = turn
                room -= len(turn[0])
        return list(first.values())

    async def _send(self, group: list[_Turn[T]]) -> None:
        # Should this be cut off, with the event loop, nothing is known of any of them.
        attempts = [Attempt(uncertain=True)] * len(group)
        begun = time.monotonic()
        try:
            attempts = await self._together([append for append, _ in group])
            if attempts[0].sequence is not None:
                self._price.batch(time.monotonic() - begun)
        finally:
            for (_, turn), attempt in zip(group, attempts, strict=True):
                if turn.done():
                    continue
                if attempt.sequence is None:
                    self._singles_in_flight += 1
                turn.set_result(attempt)
            self._batch = None
            self._flush_soon()


def _events(turns: list[_Turn[T]]) -> int:
    return sum(len(append) for append, _ in turns)
