"""How a build comes along: how far, how fast, how long still; written down for whoever asks from another process."""

import time
from collections import deque
from collections.abc import Callable

import msgspec

from projections.engine.storage.builds import Build, Connection

# The rate is that of the last seconds, so that it tells of now and not of the time before an interruption.
_WINDOW_SECONDS = 10.0
_SAMPLE_SECONDS = 0.2
_RECORD_SECONDS = 1.0
# So many are not to be lost from the count by an interruption.
_RECORDED_AT_ONCE = 1_000
_RECORD = """
INSERT INTO projection_progress (projection, version, build, events, total, events_per_second)
VALUES (%s, %s, %s, %s, %s, %s)
ON CONFLICT (projection, version, build) DO UPDATE SET
    events = EXCLUDED.events, total = EXCLUDED.total, events_per_second = EXCLUDED.events_per_second, updated_at = now()
"""


class Progress(msgspec.Struct, frozen=True):
    """How far something is that reads events."""

    # Read so far, also before an interruption.
    events: int
    # Known at this moment; it grows while others write.
    total: int
    events_per_second: float
    # None while no rate is known.
    seconds_left: float | None
    # What it waits for, where that is not events.
    waits_for: str | None = None


Report = Callable[[Progress], None]


def ignore_progress(progress: Progress) -> None:
    """The report where nobody wants to know."""


class RateEstimator:
    """Measures the rate of something that counts up."""

    def __init__(self, events: int = 0) -> None:
        self._samples = deque([(time.monotonic(), events)])

    def at(self, events: int, total: int, waits_for: str | None = None) -> Progress:
        """The progress when so many events have been read, of so many that there are."""
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
    """The progress of one build, kept in the database as well: once a second, and when nothing is left."""

    def __init__(self, conn: Connection, build: Build, events: int) -> None:
        self._conn = conn
        self._build = build
        self._events = events
        self._pace = RateEstimator(events)
        self._recorded = 0.0
        self._recorded_left = -1

    @classmethod
    async def resume(cls, conn: Connection, build: Build) -> "ProgressTracker":
        """Goes on with the count of before; after a crash it may lack the last few."""
        cursor = await conn.execute(
            "SELECT events FROM projection_progress WHERE (projection, version, build) = (%s, %s, %s)", build.id
        )
        row = await cursor.fetchone()
        return cls(conn, build, int(str(row[0])) if row else 0)

    async def moved(self, events: int, left: int | None, waits_for: str | None = None) -> Progress | None:
        """Counts events that were read; `left` are to come. While that is not known (None) there is nothing to tell."""
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


async def forget(conn: Connection, build: Build) -> None:
    await conn.execute("DELETE FROM projection_progress WHERE (projection, version, build) = (%s, %s, %s)", build.id)
