"""Metrics of a process's streams: appends, batches, conflicts, failures, size, lost events and the quorum."""

import asyncio
import time
from functools import cache
from types import TracebackType
from typing import NamedTuple, Self

from prometheus_client import Counter, Gauge, Histogram

from streams.batching.append_spans import AppendSpan

APPENDED = Counter("vestnik_log_events_appended", "Events appended and acknowledged.", ("stream",))
SECONDS = Histogram(
    "vestnik_log_append_duration_seconds",
    "Seconds from the request of an append to its durable acknowledgement.",
    ("stream",),
    buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0),
)
BATCH_EVENTS = Histogram(
    "vestnik_log_batch_events",
    "Events of concurrent appends that were sent together, in one batch.",
    ("stream",),
    buckets=(2, 4, 8, 16, 32, 64, 128, 256),
)
STORED_BYTES = Gauge("vestnik_log_stored_bytes", "Size of a stream at its server, without replicas.", ("stream",))
CONFLICTS = Counter("vestnik_log_conflicts", "Appends refused because another writer had appended first.", ("stream",))
LOST_EVENTS = Gauge(
    "vestnik_log_lost_events", "Events that a stream has lost, so that appends are refused.", ("stream",)
)
FAILURES = Counter("vestnik_log_append_failures", "Appends that failed, by error.", ("stream", "error"))

QUORUM_WAITING = Gauge(
    "vestnik_quorum_waiting",
    "1 while decisions wait for evidence that the NATS node is part of a quorum; always 0 without replicas.",
)


class _OfStream(NamedTuple):
    appended: Counter
    seconds: Histogram
    conflicts: Counter
    batch_events: Histogram


class Measured:
    """Measures one append, and ends its span; a cancelled one is not counted."""

    __slots__ = ("_begun", "_conflict", "_events", "_span", "_stream")

    def __init__(self, stream: str, events: int, span: AppendSpan | None, *, conflict: type[Exception]) -> None:
        """`span`: None if the append is not traced. `conflict`: the error raised when another writer was first."""
        self._stream = stream
        self._events = events
        self._span = span
        self._conflict = conflict

    def __enter__(self) -> Self:
        self._begun = time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._span is not None:
            self._span.end("" if kind is None else kind.__name__)
        figures = _of(self._stream)
        if kind is None:
            figures.seconds.observe(time.perf_counter() - self._begun)
            figures.appended.inc(self._events)
        elif issubclass(kind, self._conflict):
            figures.conflicts.inc()
        elif not issubclass(kind, asyncio.CancelledError):
            FAILURES.labels(self._stream, kind.__name__).inc()


def measure_batch(stream: str, events: int) -> None:
    """Counts a batch that is sent."""
    _of(stream).batch_events.observe(events)


@cache
def _of(stream: str) -> _OfStream:
    """The stream's metrics, cached because an append takes only a few microseconds here."""
    return _OfStream(
        APPENDED.labels(stream), SECONDS.labels(stream), CONFLICTS.labels(stream), BATCH_EVENTS.labels(stream)
    )
