"""Events per stream over the last day or week, counted from the sequences at the ends of equal time steps.

Nothing is stored for this: a stream can return its first event after a given time. The events of an imported stream
have the time of the import.
"""

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Literal

import msgspec
from nats.aio.client import Client as NATS

from contracts.errors import Unavailable
from contracts.subjects import STREAMS
from infra.history.event_history import end_of
from streams.jetstream.api import Refused
from streams.log import Log

Span = Literal["day", "week"]
# Number of steps per span, and the length of a step.
_STEPS: dict[Span, tuple[int, timedelta]] = {"day": (48, timedelta(minutes=30)), "week": (28, timedelta(hours=6))}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_KEPT = timedelta(days=8)
_AT_ONCE = 16


class StreamRates(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    # Events of each step, the oldest first; the last step is incomplete.
    events: list[int]


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    step_seconds: int
    # When each step begins.
    steps: list[datetime]
    streams: list[StreamRates]


class History:
    """Counts events per step; the sequence at a past moment is read once and cached."""

    def __init__(self, nc: NATS) -> None:
        self._nc = nc
        self._log = Log(nc)
        self._known: dict[tuple[str, datetime], int] = {}
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def of(self, span: Span, now: datetime) -> Rates:
        """Event counts of all streams over the span up to `now`.

        Raises:
            Unavailable: NATS does not answer.
        """
        count, step = _STEPS[span]
        last = _EPOCH + (now - _EPOCH) // step * step
        steps = [last - step * back for back in reversed(range(count))]
        self._known = {key: end for key, end in self._known.items() if key[1] > now - _KEPT}
        try:
            streams = await asyncio.gather(*(self._rates(stream, steps) for stream in STREAMS))
        except Refused as refused:
            raise Unavailable("The streams cannot be read at the moment.") from refused
        return Rates(step_seconds=round(step.total_seconds()), steps=steps, streams=list(streams))

    async def _rates(self, stream: str, steps: list[datetime]) -> StreamRates:
        end = await end_of(self._nc, stream)
        if end is None:
            return StreamRates(name=stream, events=[0] * len(steps))
        ends = [*await asyncio.gather(*(self._end_at(stream, moment) for moment in steps)), end]
        events = [max(0, after - before) for before, after in pairwise(ends)]
        return StreamRates(name=stream, events=events)

    async def _end_at(self, stream: str, moment: datetime) -> int:
        """The last sequence stored before a moment in the past."""
        sequence = self._known.get((stream, moment))
        if sequence is None:
            async with self._turns:
                sequence = self._known[stream, moment] = await self._log.end_before(stream, moment)
        return sequence
