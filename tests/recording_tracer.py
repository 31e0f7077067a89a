"""A tracer that keeps its spans: what the layers ask of the interface, without a collector."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

from contracts.tracing import spans
from contracts.tracing.spans import Span, SpanKind
from contracts.tracing.traceparent import format_traceparent, parse

TRACE = "a" * 32
# The parent of all spans of a test.
SAMPLED, UNSAMPLED = f"00-{TRACE}-{'b' * 16}-01", f"00-{TRACE}-{'b' * 16}-00"


class RecordedSpan:
    def __init__(self, number: int, parent: str, kind: SpanKind, name: str) -> None:
        self.traceparent = format_traceparent(parse(parent).trace_id, number, 1)
        self.parent = parent
        self.kind = kind
        self.name = name
        self.attributes: dict[str, str | int] = {}
        self.links: list[str] = []
        # None while it has not ended.
        self.error: str | None = None

    def rename(self, name: str) -> None:
        self.name = name

    def set(self, attribute: str, value: str | int) -> None:
        assert self.error is None, "it has ended"
        self.attributes[attribute] = value

    def link(self, traceparent: str) -> None:
        self.links.append(traceparent)

    def end(self, error: str = "") -> None:
        assert self.error is None, "it has ended"
        self.error = error


class RecordingTracer:
    """Samples each request."""

    def __init__(self) -> None:
        self.spans: list[RecordedSpan] = []
        self._numbers = count(1)

    def enter(self, traceparent: str | None, name: str) -> tuple[Span | None, str | None]:
        span = self.child(traceparent or SAMPLED, SpanKind.SERVER, name, None)
        return span, span.traceparent

    def child(self, traceparent: str, kind: SpanKind, name: str, began: int | None) -> RecordedSpan:
        span = RecordedSpan(next(self._numbers), traceparent, kind, name)
        self.spans.append(span)
        return span


@contextmanager
def recording() -> Iterator[list[RecordedSpan]]:
    """Keeps the spans of this process while it is open."""
    tracer = RecordingTracer()
    spans.install(tracer)
    try:
        yield tracer.spans
    finally:
        spans.install(None)
