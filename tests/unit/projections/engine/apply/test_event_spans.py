"""Spans of the events of a committed batch."""

import msgspec

from contracts.envelope import Envelope, encode, now, open_event
from contracts.events.message import MessageSent
from contracts.subjects import MESSAGING
from projections.engine.apply.batch import Batch
from projections.engine.apply.event_spans import record_spans
from projections.engine.apply.merging.change_plans import Shapes
from projections.engine.apply.merging.row_merging import MergedRows
from projections.engine.storage.dead_letters import DeadLetter
from streams.message import Message
from tests.recording_tracer import SAMPLED, UNSAMPLED, recording

SENT = MessageSent(
    message_id="m", sender_id="a", recipient_id="b", sequence=1, text="text", client_message_id="traceparent"
)


def message(sequence: int, traceparent: str | None, *, opened: bool) -> Message:
    envelope = Envelope(
        id=str(sequence),
        type=SENT.TYPE,
        schema=SENT.SCHEMA,
        aggregate_id="c",
        version=sequence,
        at=now(),
        traceparent=traceparent,
        data=msgspec.Raw(msgspec.json.encode(SENT)),
    )
    event = open_event(envelope, stream=MESSAGING, sequence=sequence, subject="s") if opened else None
    return Message(MESSAGING, sequence, "s", encode(envelope), opened=event)


def test_each_sampled_event_has_a_span_and_that_of_a_dead_letter_is_an_error() -> None:
    batch = Batch(MergedRows(Shapes({})), 0)
    messages = [
        message(1, SAMPLED, opened=True),
        message(2, SAMPLED, opened=False),
        message(3, UNSAMPLED, opened=True),
        message(4, UNSAMPLED, opened=False),
        message(5, None, opened=True),
        Message(MESSAGING, 6, "s", b"not JSON"),
        Message(MESSAGING, 6, "s", b'{"traceparent":"\xff"}'),
        message(7, SAMPLED, opened=False),
    ]
    batch.move(MESSAGING, 0, 7, messages)
    batch.letters = [DeadLetter(message=messages[-1], type=SENT.TYPE, reason="broken")]
    with recording() as spans:
        record_spans("conversations", batch)
    assert [(span.name, span.parent, span.error) for span in spans] == [
        ("project conversations", SAMPLED, ""),
        ("project conversations", SAMPLED, ""),
        ("project conversations", SAMPLED, "dead_letter"),
    ]
    assert spans[0].attributes["messaging.destination.name"] == MESSAGING


def test_without_a_tracer_no_event_is_read() -> None:
    batch = Batch(MergedRows(Shapes({})), 0)
    batch.events = 1
    batch.messages = {MESSAGING: [None]}  # type: ignore[list-item]  # fails if it is read
    record_spans("conversations", batch)
