"""Spans of events whose rows a projection has written."""

import time

import msgspec

from contracts.tracing.spans import SpanKind, child, is_on
from projections.engine.apply.batch import Batch
from streams.message import Message


def record_spans(projection: str, batch: Batch) -> None:
    """Records one span for each sampled event of a batch that was committed just now, for as long as the write took."""
    if not is_on() or not batch.events:
        return
    began = time.time_ns() - int(batch.seconds * 1e9)
    letters = {(letter.message.stream, letter.message.sequence) for letter in batch.letters}
    for stream, messages in batch.messages.items():
        for message in messages:
            span = child(_traceparent(message), SpanKind.CONSUMER, "project", projection, began=began)
            if span is None:
                continue
            span.set("messaging.system", "nats")
            span.set("messaging.operation.name", "project")
            span.set("messaging.operation.type", "process")
            span.set("messaging.destination.name", stream)
            span.set("vestnik.read_model", projection)
            span.set("vestnik.projection.batch_events", batch.events)
            span.end("dead_letter" if (stream, message.sequence) in letters else "")


class _Traced(msgspec.Struct):
    traceparent: str | None = None


_DECODER = msgspec.json.Decoder(_Traced)


def _traceparent(message: Message) -> str | None:
    if message.opened is not None:
        return message.opened.traceparent
    try:
        return _DECODER.decode(message.payload).traceparent
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
