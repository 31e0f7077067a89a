"""Prometheus metrics of the projections that a process runs.

Only the process that applies a projection reports its lag, checkpoint, progress and dead letters; a standby reports
none, so each figure comes from one process at a time. A process that lost the database keeps reporting its last values.
"""

import time
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import NamedTuple

from prometheus_client import Counter, Gauge, Histogram

from projections.engine.apply.batch import Batch
from projections.engine.apply.build_writer import BuildWriter
from projections.engine.apply.pipeline import Pipeline
from projections.engine.projection import Projection
from projections.engine.storage.dead_letters import Counts

_OWN = ("projection", "version")
_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)

EVENTS = Counter("vestnik_projection_events_applied", "Events applied, ignored ones and dead letters included.", _OWN)
BATCH_EVENTS = Histogram(
    "vestnik_projection_batch_events",
    "Events in a batch.",
    _OWN,
    buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000),
)
BATCH_SECONDS = Histogram(
    "vestnik_projection_batch_duration_seconds",
    "Seconds to write a batch, rows and checkpoint together.",
    _OWN,
    buckets=_SECONDS,
)
LEADING = Gauge("vestnik_projection_leading", "1 if this process applies the projection, 0 if it is on standby.", _OWN)
LAG_EVENTS = Gauge("vestnik_projection_lag_events", "Events of a stream that are not yet applied.", (*_OWN, "stream"))
LAG_SECONDS = Gauge(
    "vestnik_projection_lag_seconds",
    "Age of the oldest event of a stream that is not yet applied; 0 if there is none.",
    (*_OWN, "stream"),
)
CHECKPOINT = Gauge(
    "vestnik_projection_last_checkpoint_timestamp_seconds",
    "When the checkpoint was last moved, or confirmed to be at the stream's end.",
    _OWN,
)
DEAD_LETTERS = Gauge(
    "vestnik_projection_dead_letters",
    "Events that could not be applied (failed), and later ones of the same aggregates (parked).",
    (*_OWN, "state"),
)
LOST = Gauge(
    "vestnik_projection_lost_events",
    "Events missing in the streams whose loss no operator has accepted.",
    _OWN,
)
ERRORS = Counter(
    "vestnik_projection_errors", "Restarts of a runner, after a lost connection or a missing stream.", _OWN
)
FAILED = Gauge(
    "vestnik_projection_failed",
    "1 if the projection has failed because of its code: invalid tables, an exception, or a module that cannot be "
    "loaded (version 0).",
    _OWN,
)
PAUSED = Gauge(
    "vestnik_projection_paused",
    "1 if an operator has paused the projection: no process applies events to it.",
    _OWN,
)
WAIT_SECONDS = Histogram(
    "vestnik_projection_wait_duration_seconds",
    "Seconds that calls waited until the read model had reached their position, without calls that need not wait.",
    _OWN,
    buckets=_SECONDS,
)
WAITED_IN_VAIN = Counter(
    "vestnik_projection_waited_in_vain",
    "Calls that failed because the read model did not reach their position in time.",
    _OWN,
)
WAITING = Gauge("vestnik_projection_waiting", "Calls that are waiting for the read model.", _OWN)
PROGRESS = Gauge(
    "vestnik_projection_build_progress_ratio",
    "Share of events that a build that is not live yet has applied, of those that were left when this process "
    "took it over.",
    _OWN,
)


class Backlog(NamedTuple):
    """The events of one stream that a paused projection has not applied."""

    events: int
    # Storage time of the oldest one, in nanoseconds; None: there is none.
    oldest_ns: int | None


class ProjectionMetrics:
    """The metrics of one runner."""

    def __init__(self, projection: type[Projection]) -> None:
        self._labels = (projection.name, str(projection.version))
        self._streams = tuple(projection.filters())
        self._pipeline: Pipeline | None = None
        self._filling: BuildWriter | None = None
        # Of a paused projection, which has no pipeline.
        self._backlog: Mapping[str, Backlog] = {}
        self._is_live = True
        self._events_of_build = 0
        self._errors = ERRORS.labels(*self._labels)
        self._leading = LEADING.labels(*self._labels)
        self._failed = FAILED.labels(*self._labels)
        self._paused = PAUSED.labels(*self._labels)

    def set_leader(self, leading: bool) -> None:
        self._leading.set(leading)

    def attach(self, pipeline: Pipeline, filling: BuildWriter, *, is_live: bool) -> None:
        """Sets the pipeline and build that the metrics are taken from."""
        self._pipeline, self._filling, self._is_live = pipeline, filling, is_live
        self._events_of_build = 0
        self._report_lag()

    def set_paused(self, paused: bool) -> None:
        self._paused.set(paused)

    def count_paused(self, backlog: Mapping[str, Backlog]) -> None:
        """Reports the lag of a paused projection. A stream that is left out keeps its last figures."""
        self._pipeline = self._filling = None
        # It neither moves nor is it confirmed.
        _forget(CHECKPOINT, *self._labels)
        self._backlog = {**self._backlog, **backlog}
        self._report_lag()

    def _report_lag(self) -> None:
        for stream in self._streams:
            # Computed at each scrape: both grow while no batch is written.
            LAG_SECONDS.labels(*self._labels, stream).set_function(partial(self._age, stream))
            LAG_EVENTS.labels(*self._labels, stream).set_function(partial(self._left, stream))

    def set_standby(self) -> None:
        """Removes the figures that another process reports now."""
        self._pipeline = self._filling = None
        self._backlog = {}
        for gauge in (CHECKPOINT, PROGRESS, LOST):
            _forget(gauge, *self._labels)
        for state in Counts._fields:
            _forget(DEAD_LETTERS, *self._labels, state)
        for gauge in (LAG_EVENTS, LAG_SECONDS):
            for stream in self._streams:
                _forget(gauge, *self._labels, stream)

    def applied(self, batch: Batch) -> None:
        """Records a written batch; an empty one has confirmed the checkpoint."""
        assert self._pipeline is not None
        assert self._filling is not None
        CHECKPOINT.labels(*self._labels).set_to_current_time()
        for state, count in self._filling.letters._asdict().items():
            DEAD_LETTERS.labels(*self._labels, state).set(count)
        if batch.events:
            EVENTS.labels(*self._labels).inc(batch.events)
            BATCH_EVENTS.labels(*self._labels).observe(batch.events)
            BATCH_SECONDS.labels(*self._labels).observe(batch.seconds)
        if self._is_live:
            _forget(PROGRESS, *self._labels)
        else:
            self._events_of_build += batch.events
            total = self._events_of_build + self._pipeline.left
            PROGRESS.labels(*self._labels).set(self._events_of_build / total if total else 1.0)

    def lost(self, events: int) -> None:
        LOST.labels(*self._labels).set(events)

    def error(self, *, failed: bool) -> None:
        """Counts a restart of the runner; `failed`: too many were caused by the projection itself."""
        self._errors.inc()
        self._failed.set(failed)

    def recovered(self) -> None:
        self._failed.set(0)

    def _left(self, stream: str) -> int:
        if self._pipeline is not None:
            return self._pipeline.left_of(stream)
        return self._backlog[stream].events if stream in self._backlog else 0

    def _age(self, stream: str) -> float:
        if self._pipeline is not None:
            oldest = self._pipeline.oldest(stream)
        else:
            oldest = self._backlog[stream].oldest_ns if stream in self._backlog else None
        return 0.0 if oldest is None else max(0.0, time.time() - oldest / 1e9)


def _forget(gauge: Gauge, *labels: str) -> None:
    # The metric may not have been set yet.
    with suppress(KeyError):
        gauge.remove(*labels)
