"""Spans of live delivery: one for each sampled event that a client of this gateway receives."""

from contracts.envelope import Recorded
from contracts.events.event import Event
from contracts.tracing.spans import SpanKind, child


def record_delivery(event: Recorded[Event], clients: int, began: int) -> None:
    """Records the delivery of an event to the connections of its receivers, or to their queues.

    `clients`: the connections. `began`: nanoseconds of Unix time.
    """
    span = child(event.traceparent, SpanKind.CONSUMER, "deliver", event.type, began=began)
    if span is None:
        return
    span.set("messaging.system", "nats")
    span.set("messaging.operation.name", "deliver")
    span.set("messaging.operation.type", "process")
    span.set("messaging.destination.name", event.stream)
    span.set("vestnik.event.type", event.type)
    span.set("vestnik.live.clients", clients)
    span.end()
