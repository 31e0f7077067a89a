from collections import deque
from collections.abc import Iterator

import msgspec
from msgspec import UNSET, UnsetType

from contracts.envelope import now
from contracts.messages import LiveMessage, Quote
from contracts.values.ids import new_id, pair_id
from services.gateway.cache.quote_texts import Quoted, QuotedText
from services.gateway.live.fanout import OutboundEvent
from services.gateway.live.replay_buffer import ReplayBuffer


def outbound(sequence: int, size: int = 2) -> OutboundEvent:
    return OutboundEvent(
        channel="CONTACT", sequence=sequence, type="t", at=now(), payload_by_user={"anna": b"x" * size}
    )


MESSAGE, OTHER, ANNA, BORIS = new_id(), new_id(), new_id(), new_id()
QUOTE = Quote(message_id=MESSAGE, sequence=3, sender_id=ANNA)


def of_message(sequence: int, kind: str, text: str, message_id: str = MESSAGE, **members: object) -> OutboundEvent:
    shown = LiveMessage(
        message_id=message_id,
        conversation_id=pair_id(ANNA, BORIS),
        user_id=BORIS,
        sequence=3,
        sender_id=ANNA,
        text=text,
        sent_at="2026-01-31T12:00:00.000Z",
    )
    shown = msgspec.structs.replace(shown, **members)
    return OutboundEvent(
        channel="MESSAGING",
        sequence=sequence,
        type=kind,
        at=now(),
        payload_by_user={"anna": msgspec.json.encode(shown)},
        message_id=message_id,
    )


def texts(recent: ReplayBuffer) -> list[tuple[int, str, str, bool]]:
    shown = [(event, msgspec.json.decode(event.payload_by_user["anna"])) for event in recent.since(0)]
    return [(event.sequence, event.type, data["text"], data.get("deleted", False)) for event, data in shown]


def sequences(recent: ReplayBuffer, after: int) -> list[int]:
    return [event.sequence for event in recent.since(after)]


def test_events_after_a_position_are_found_in_order() -> None:
    recent = ReplayBuffer()
    recent.begin(5)
    for sequence in (7, 8, 12):
        recent.add(outbound(sequence))
    assert recent.oldest_sequence == 5
    assert sequences(recent, 5) == [7, 8, 12]
    assert sequences(recent, 8) == [12]
    assert sequences(recent, 12) == []


def test_the_oldest_event_is_evicted_and_the_oldest_sequence_follows() -> None:
    recent = ReplayBuffer(most=2)
    for sequence in (3, 4, 9):
        recent.add(outbound(sequence))
    assert recent.oldest_sequence == 3
    assert sequences(recent, 3) == [4, 9]


def test_its_size_is_bounded_in_bytes_too() -> None:
    recent = ReplayBuffer(most_bytes=100)
    for sequence in range(1, 11):
        recent.add(outbound(sequence, size=30))
    assert recent.oldest_sequence == 7
    assert sequences(recent, 7) == [8, 9, 10]


def test_a_cleared_buffer_is_empty() -> None:
    recent = ReplayBuffer()
    recent.add(outbound(1))
    recent.begin(9)
    assert (recent.oldest_sequence, sequences(recent, 0)) == (9, [])


def test_a_deleted_message_has_no_text_in_older_events() -> None:
    recent = ReplayBuffer(most_bytes=2_500)
    quote = Quote(message_id=OTHER, sequence=1, sender_id=BORIS)
    recent.add(of_message(1, "message.sent", "x" * 600, reply_to=quote))
    recent.add(of_message(2, "message.sent", "other", OTHER))
    recent.add(of_message(3, "message.edited", "y" * 600, edited_at="2026-01-31T12:00:01.000Z"))
    recent.add(of_message(4, "message.deleted", "", deleted=True))
    assert texts(recent) == [
        (1, "message.sent", "", True),
        (2, "message.sent", "other", False),
        (3, "message.edited", "", True),
        (4, "message.deleted", "", True),
    ]
    sent, _, edited, _ = recent.since(0)
    # The rest stays: a backfill says the same.
    assert msgspec.json.decode(sent.payload_by_user["anna"], type=LiveMessage).reply_to == quote
    assert b"edited_at" not in edited.payload_by_user["anna"]
    # The room of the texts is free again.
    recent.add(of_message(5, "message.sent", "z" * 600, new_id()))
    assert sequences(recent, 0) == [1, 2, 3, 4, 5]


def test_an_edited_message_has_its_last_text_in_the_events_before() -> None:
    recent = ReplayBuffer(most_bytes=2_500)
    recent.add(of_message(1, "message.sent", "x" * 1_000))
    recent.add(of_message(2, "message.sent", "other", OTHER))
    recent.add(of_message(3, "message.edited", "y", edited_at="2026-01-31T12:00:01.000Z"))
    recent.add(of_message(4, "message.edited", "z", edited_at="2026-01-31T12:00:02.000Z"))
    assert texts(recent) == [
        (1, "message.sent", "z", False),
        (2, "message.sent", "other", False),
        (3, "message.edited", "z", False),
        (4, "message.edited", "z", False),
    ]
    assert b"2026-01-31T12:00:02.000Z" in recent.since(0)[0].payload_by_user["anna"]
    # The room of the first text is free again.
    recent.add(of_message(5, "message.sent", "x" * 1_000, new_id()))
    assert sequences(recent, 0) == [1, 2, 3, 4, 5]


def test_the_events_of_a_removed_message_are_gone_and_take_no_room() -> None:
    recent = ReplayBuffer(most_bytes=1_500)
    recent.begin(0)
    recent.add(of_message(1, "message.sent", "x" * 700))
    recent.add(of_message(2, "message.sent", "other", OTHER))
    recent.remove(MESSAGE)
    recent.add(of_message(3, "message.sent", "x" * 700, new_id()))
    assert (recent.oldest_sequence, sequences(recent, 0)) == (0, [2, 3])


def quotes(recent: ReplayBuffer) -> list[Quote | UnsetType]:
    shown = (msgspec.json.decode(event.payload_by_user["anna"], type=LiveMessage) for event in recent.since(0))
    return [message.reply_to for message in shown]


def reply(sequence: int) -> OutboundEvent:
    """A reply to MESSAGE."""
    event = of_message(sequence, "message.sent", "reply", new_id(), reply_to=QUOTE)
    return msgspec.structs.replace(event, quoted=Quoted(MESSAGE, pair_id(ANNA, BORIS), 3))


def test_quotes_show_the_text_that_the_message_has_after_its_last_change() -> None:
    recent = ReplayBuffer(most_bytes=4_500)
    recent.add(of_message(1, "message.sent", "x"))
    recent.add(reply(2))
    assert recent.text_of(MESSAGE) == QuotedText("x", False)
    recent.quote({MESSAGE: QuotedText("x", False), OTHER: QuotedText("other", False)})
    assert quotes(recent) == [UNSET, msgspec.structs.replace(QUOTE, text="x")]
    recent.add(of_message(3, "message.edited", "y" * 1_000, edited_at="2026-01-31T12:00:01.000Z"))
    assert quotes(recent)[1] == msgspec.structs.replace(QUOTE, text="y" * 1_000)
    # A text that was looked up before the change is not the newest.
    recent.quote({MESSAGE: QuotedText("x", False)})
    assert quotes(recent)[1] == msgspec.structs.replace(QUOTE, text="y" * 1_000)
    recent.add(of_message(4, "message.deleted", "", deleted=True))
    assert quotes(recent)[1] == msgspec.structs.replace(QUOTE, text="", deleted=True)
    assert recent.text_of(MESSAGE) == QuotedText("", True)
    # The room of the texts is free again.
    recent.add(of_message(5, "message.sent", "z" * 700, OTHER))
    assert sequences(recent, 0) == [1, 2, 3, 4, 5]


def test_the_text_of_a_message_whose_events_are_gone_is_not_known() -> None:
    recent = ReplayBuffer(most=1)
    recent.add(of_message(1, "message.sent", "x"))
    recent.add(reply(2))
    assert recent.text_of(MESSAGE) is None


class NeverRead(deque[OutboundEvent]):
    """A buffer that fails if it is read as a whole."""

    def __iter__(self) -> Iterator[OutboundEvent]:
        raise AssertionError

    def __reversed__(self) -> Iterator[OutboundEvent]:
        raise AssertionError


def test_texts_and_quotes_are_found_without_reading_the_other_events() -> None:
    recent = ReplayBuffer(most=3)
    recent.add(of_message(1, "message.sent", "gone", OTHER))
    recent.add(of_message(2, "message.sent", "x"))
    recent.add(reply(3))
    recent._events = NeverRead(recent._events)
    assert recent.text_of(new_id()) is None
    recent.add(of_message(4, "message.edited", "y", edited_at="2026-01-31T12:00:01.000Z"))
    assert (recent.text_of(OTHER), recent.text_of(MESSAGE)) == (None, QuotedText("y", False))
    recent.quote({OTHER: QuotedText("other", False), MESSAGE: QuotedText("x", False)})
    recent._events = deque(recent._events.popleft() for _ in range(3))
    assert quotes(recent)[1] == msgspec.structs.replace(QUOTE, text="y")


def test_texts_and_quotes_are_the_same_after_events_were_dropped_and_removed() -> None:
    recent = ReplayBuffer(most=4)
    removed = new_id()
    for sequence in range(1, 30, 3):
        recent.add(of_message(sequence, "message.sent", "removed", removed))
        recent.add(of_message(sequence + 1, "message.sent", f"x{sequence}"))
        recent.remove(removed)
        recent.add(reply(sequence + 2))
        assert recent.text_of(removed) is None
        assert recent.text_of(MESSAGE) == QuotedText(f"x{sequence}", False)
        recent.quote({MESSAGE: QuotedText(f"x{sequence}", False)})
        assert quotes(recent)[-1] == msgspec.structs.replace(QUOTE, text=f"x{sequence}")
    assert sequences(recent, 0) == [26, 27, 29, 30]
    for sequence in range(31, 35):
        recent.add(outbound(sequence))
    assert (recent._by_message, recent._by_quoted) == ({}, {})
