"""A build's progress: events, rate, time left; recorded in the database for other processes."""

import time
from collections import deque
from collections.abc import Callable

import msgspec

from projections.engine.projection import Projection
from projections.engine.storage.builds import Build, Connection

# The rate is measured over the last seconds, so that it does not include the time before an interruption.
_WINDOW_SECONDS = 10.0
_SAMPLE_SECONDS = 0.2
_RECORD_SECONDS = 1.0
# A batch of at least this many events is recorded immediately, so that an interruption does not lose it from the count.
_RECORDED_AT_ONCE = 1_000
_RECORD = """
INSERT INTO projection_progress (projection, version, build, events, total, events_per_second)
VALUES (%s, %s, %s, %s, %s, %s)
ON CONFLICT (projection, version, build) DO UPDATE SET
    events = EXCLUDED.events, total = EXCLUDED.total, events_per_second = EXCLUDED.events_per_second, updated_at = now()
"""
_OF_A_BUILD = """
SELECT round(100.0 * p.events / greatest(p.total, 1)) FROM projection_progress AS p
JOIN projection_builds AS b USING (projection, version, build)
WHERE projection = %s AND version = %s AND b.state = 'building' ORDER BY build DESC LIMIT 1
"""


class Progress(msgspec.Struct, frozen=True):
    """The progress of reading events."""

    # Read so far, including before an interruption.
    events: int
    # Known so far; grows while events are appended.
    total: int
    events_per_second: float
    # None while no rate is known.
    seconds_left: float | None
    # What the build is waiting for, other than events.
    waits_for: str | None = None
    # The limit that the operator has set; None: there is none.
    most_per_second: int | None = None


Report = Callable[[Progress], None]


def ignore_progress(progress: Progress) -> None:
    """A report that does nothing."""


class RateEstimator:
    """Estimates the rate of a growing count."""

    def __init__(self, events: int = 0) -> None:
        self._samples = deque([(time.monotonic(), events)])

    def at(self, events: int, total: int, waits_for: str | None = None) -> Progress:
        """Returns the progress after `events` of `total` events."""
        rate = self._rate(time.monotonic(), events)
        left = max(0, total - events)
        seconds_left = 0.0 if not left else round(left / rate, 1) if rate else None
        return Progress(events, max(total, events), round(rate, 1), seconds_left, waits_for)

    def _rate(self, now: float, events: int) -> float:
        samples = self._samples
        if now - samples[-1][0] >= _SAMPLE_SECONDS:
            samples.append((now, events))
        while len(samples) > 1 and now - samples[1][0] >= _WINDOW_SECONDS:
            samples.popleft()
        since, before = samples[0]
        return max(0, events - before) / (now - since) if now > since else 0.0


class ProgressTracker:
    """Tracks the progress of one build; records it once per second, after a large batch, and when nothing is left."""

    def __init__(self, conn: Connection, build: Build, events: int) -> None:
        self._conn = conn
        self._build = build
        self._events = events
        self._pace = RateEstimator(events)
        self._recorded = 0.0
        self._recorded_left = -1

    @classmethod
    async def resume(cls, conn: Connection, build: Build) -> "ProgressTracker":
        """Continues from the recorded count; after a crash it may lack the last few events."""
        cursor = await conn.execute(
            "SELECT events FROM projection_progress WHERE (projection, version, build) = (%s, %s, %s)", build.id
        )
        row = await cursor.fetchone()
        return cls(conn, build, int(str(row[0])) if row else 0)

    async def moved(self, events: int, left: int | None, waits_for: str | None = None) -> Progress | None:
        """Counts events that were read, with `left` to come; returns None while `left` is unknown (None)."""
        self._events += events
        if left is None:
            return None
        progress = self._pace.at(self._events, self._events + left, waits_for)
        due = time.monotonic() - self._recorded >= _RECORD_SECONDS or (not left and self._recorded_left)
        if due or events >= _RECORDED_AT_ONCE:
            await self._record(progress)
            self._recorded, self._recorded_left = time.monotonic(), left
        return progress

    async def _record(self, progress: Progress) -> None:
        await self._conn.execute(
            _RECORD, (*self._build.id, progress.events, progress.total, progress.events_per_second)
        )


async def described(conn: Connection, projection: type[Projection]) -> str:
    """The work that holds the projection's rebuild lock, in a few words."""
    cursor = await conn.execute(_OF_A_BUILD, (projection.name, projection.version))
    row = await cursor.fetchone()
    return "a rebuild or a reset" if row is None else f"a rebuild, which has applied {row[0]} % of its events"


async def forget(conn: Connection, build: Build) -> None:
    await conn.execute("DELETE FROM projection_progress WHERE (projection, version, build) = (%s, %s, %s)", build.id)
