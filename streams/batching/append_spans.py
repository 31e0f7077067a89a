"""Spans of appends: one for each sampled request whose events are appended; those that share a batch are linked.

An append may hold the events of several requests, whose commands were combined.
"""

from collections.abc import Iterable, Sequence

from contracts.envelope import Envelope
from contracts.tracing.spans import Span, SpanKind, child


class AppendSpan:
    """The spans of one append."""

    __slots__ = ("_event_id", "_pending", "_spans")

    def __init__(self, spans: list[Span], event_id: str, pending: dict[str, list[Span]]) -> None:
        self._spans = spans
        self._event_id = event_id
        self._pending = pending
        pending[event_id] = spans

    def end(self, error: str = "") -> None:
        """As `Span.end`."""
        self._pending.pop(self._event_id, None)
        for span in self._spans:
            span.end(error)


class AppendSpans:
    """The spans of the appends that are under way."""

    def __init__(self) -> None:
        # By the id of the append's first event.
        self._pending: dict[str, list[Span]] = {}

    def begin(self, stream: str, envelopes: Sequence[Envelope]) -> AppendSpan | None:
        """Begins the spans of an append of these events; None if none of their traces is sampled."""
        spans = []
        for traceparent in dict.fromkeys(envelope.traceparent for envelope in envelopes):
            span = child(traceparent, SpanKind.PRODUCER, "append", stream)
            if span is None:
                continue
            span.set("messaging.system", "nats")
            span.set("messaging.operation.name", "append")
            span.set("messaging.operation.type", "send")
            span.set("messaging.destination.name", stream)
            span.set("messaging.batch.message_count", len(envelopes))
            spans.append(span)
        if not spans:
            return None
        _link(spans)
        return AppendSpan(spans, envelopes[0].id, self._pending)

    def share(self, first_ids: Iterable[str], events: int) -> None:
        """Links the appends that go to the server in one batch.

        `first_ids`: the id of each append's first event. `events`: of all appends.
        """
        sampled = [spans for event_id in first_ids if (spans := self._pending.get(event_id)) is not None]
        for spans in sampled:
            for span in spans:
                span.set("vestnik.append.batch_events", events)
        _link([spans[0] for spans in sampled])


def _link(spans: Sequence[Span]) -> None:
    """Links each to the first."""
    for span in spans[1:]:
        span.link(spans[0].traceparent)
