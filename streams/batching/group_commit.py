"""Group commit: appends that wait while others are in flight are sent as one atomic batch, without a timer.

A server that syncs to disk before it acknowledges does so once per single message, and also only once per batch. A
batch has a cost of its own, so a few appends are faster singly: the choice is made when the next can be sent, by the
number of waiting events and the measured durations of both (batch_threshold.py). Where batches are cheap, only a few
single appends are sent at once, so that the others gather. An append is one event or several on
one subject, all or none of them. In a batch each append keeps its own condition on its own subject. If a batch is not
plainly stored, each of its appends is settled separately afterwards.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Generic, NamedTuple, TypeVar

import msgspec

from streams.batching.batch_threshold import BatchThreshold

# Maximum of events in a batch, give or take those of one append: limits the cost of a refusal by one stale condition.
_MOST = 128
# Seconds between two checks for appends that have waited too long, and so the most by which one may end late.
_CHECK_SECONDS = 0.5

T = TypeVar("T")


class Attempt(msgspec.Struct, frozen=True):
    """How an append is stored: by a batch that was sent for it, or still to be sent alone."""

    # Sequence of its first event, if a batch stored it; None: it has to be stored singly.
    sequence: int | None = None
    # Whether a batch may have stored it, or may still do so.
    uncertain: bool = False


_ALONE = Attempt()


class _Turn(NamedTuple, Generic[T]):
    append: Sequence[T]
    outcome: asyncio.Future[Attempt]
    deadline: float


class GroupCommit(Generic[T]):
    """Group commit for one stream: lets a few appends through immediately and gathers the others."""

    def __init__(
        self, together: Callable[[list[Sequence[T]]], Awaitable[list[Attempt]]], condition_on: Callable[[T], Hashable]
    ) -> None:
        """
        `together`: makes one attempt to store the appends as one batch; never raises.
        `condition_on`: the subject of an event's condition; a batch has only one append on each.
        """
        self._loop = asyncio.get_running_loop()
        self._together = together
        self._condition_on = condition_on
        self._waiting: list[_Turn[T]] = []
        self._singles_in_flight = 0
        self._batch: asyncio.Task[None] | None = None
        self._in_batch: list[_Turn[T]] = []
        self._flushing = False
        self._expiry: asyncio.TimerHandle | None = None
        self._threshold = BatchThreshold()

    async def acquire(self, append: Sequence[T], deadline: float = math.inf) -> Attempt:
        """Waits for the append's turn; if no batch stored it, the caller must call `release` when it is settled.

        `append`: events to be stored in this order, all or none, on the condition of the first.
        `deadline`: until when to wait, as `time.monotonic`.

        Raises:
            TimeoutError: its turn did not come in time; nothing was sent.
        """
        if self._singles_in_flight < self._threshold.singles and not (self._waiting or self._batch or self._flushing):
            self._singles_in_flight += 1
            return _ALONE
        outcome: asyncio.Future[Attempt] = self._loop.create_future()
        self._waiting.append(_Turn(append, outcome, deadline))
        if self._expiry is None:
            self._expiry = self._loop.call_later(_CHECK_SECONDS, self._expire)
        self._flush_soon()
        try:
            return await outcome
        except asyncio.CancelledError:
            settled = outcome.done() and not outcome.cancelled() and outcome.exception() is None
            if settled and outcome.result().sequence is None:
                self.release()
            raise

    def release(self, seconds: float | None = None) -> None:
        """Ends a single append; `seconds`: how long it took, if it was stored."""
        if seconds is not None:
            self._threshold.single(seconds, self._singles_in_flight)
        self._singles_in_flight -= 1
        self._flush_soon()

    def _flush_soon(self) -> None:
        """Schedules a flush after all ready callbacks: callers whose batch has just returned append again together."""
        if self._waiting and not self._flushing and not self._batch:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _expire(self) -> None:
        """Ends the appends that have waited too long, for their turn or for the outcome of their batch."""
        now = time.monotonic()
        for turn in self._waiting:
            if turn.deadline <= now and not turn.outcome.done():
                turn.outcome.set_exception(TimeoutError())
        for turn in self._in_batch:
            if turn.deadline <= now:
                self._settle(turn, Attempt(uncertain=True))
        self._waiting = [turn for turn in self._waiting if not turn.outcome.done()]
        self._expiry = self._loop.call_later(_CHECK_SECONDS, self._expire) if self._waiting or self._in_batch else None

    def _flush(self) -> None:
        self._flushing = False
        self._waiting = [turn for turn in self._waiting if not turn.outcome.done()]
        group = self._group()
        if _events(group) >= self._threshold.minimum:
            chosen = {id(turn) for turn in group}
            self._waiting = [turn for turn in self._waiting if id(turn) not in chosen]
            self._in_batch = group
            self._batch = self._loop.create_task(self._send(group))
            return
        room = max(0, self._threshold.singles - self._singles_in_flight)
        for turn in self._waiting[:room]:
            self._singles_in_flight += 1
            turn.outcome.set_result(_ALONE)
        del self._waiting[:room]

    def _group(self) -> list[_Turn[T]]:
        """The first waiting append on each subject: the condition of a second one would not count."""
        if _events(self._waiting) < self._threshold.minimum:
            return []
        first: dict[Hashable, _Turn[T]] = {}
        room = _MOST
        for turn in self._waiting:
            if room <= 0:
                break
            if (subject := self._condition_on(turn.append[0])) not in first:
                first[subject] = turn
                room -= len(turn.append)
        return list(first.values())

    async def _send(self, group: list[_Turn[T]]) -> None:
        # If this is cancelled together with the event loop, every outcome is unknown.
        attempts = [Attempt(uncertain=True)] * len(group)
        begun = time.monotonic()
        try:
            attempts = await self._together([turn.append for turn in group])
            if attempts[0].sequence is not None:
                self._threshold.batch(time.monotonic() - begun)
        finally:
            for turn, attempt in zip(group, attempts, strict=True):
                self._settle(turn, attempt)
            self._batch = None
            self._in_batch = []
            self._flush_soon()

    def _settle(self, turn: _Turn[T], attempt: Attempt) -> None:
        if turn.outcome.done():
            return
        if attempt.sequence is None:
            self._singles_in_flight += 1
        turn.outcome.set_result(attempt)


def _events(turns: list[_Turn[T]]) -> int:
    return sum(len(turn.append) for turn in turns)
