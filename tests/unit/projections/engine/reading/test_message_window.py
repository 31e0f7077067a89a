"""A window holds contiguous messages, and its end is never ahead of what was read."""

import msgspec
import pytest

from contracts.envelope import Envelope, Provenance, encode, seal
from contracts.events.message import MessageSeen
from projections.engine.reading import message_window
from projections.engine.reading.message_window import Window
from streams.loss.missing_events import Gap
from streams.message import Message
from streams.reader import ReadBatch


def piece(*sequences: int, position: int | None = None, pending: int = 0, size: int = 1) -> ReadBatch:
    messages = [Message("S", sequence, "s", b"x" * size) for sequence in sequences]
    return ReadBatch(messages, sequences[-1] if position is None else position, pending)


def _envelope() -> Envelope:
    read_mark = MessageSeen(conversation_id="c", reader_id="r", peer_id="p", sequence=7)
    return seal(read_mark, aggregate_id="c.r", version=1, provenance=Provenance())


def taken(batch: ReadBatch) -> tuple[list[int], int, int]:
    return [message.sequence for message in batch.messages], batch.position, batch.pending


def test_an_empty_window_holds_its_begin_only() -> None:
    empty = Window(7)
    assert [position for position in range(10) if empty.holds(position)] == [7]
    assert taken(empty.after(7, 10)) == ([], 7, 0)


def test_each_reader_takes_the_messages_after_its_position() -> None:
    window = Window(0)
    window.add(piece(2, 4, 6))
    window.add(piece(7, 9, position=12, pending=3))
    assert taken(window.after(0, 10)) == ([2, 4, 6, 7, 9], 12, 3)
    assert taken(window.after(4, 10)) == ([6, 7, 9], 12, 3)
    assert taken(window.after(5, 10)) == ([6, 7, 9], 12, 3)
    assert taken(window.after(9, 10)) == ([], 12, 3)
    assert taken(window.after(12, 10)) == ([], 12, 3)


def test_a_limit_leaves_the_rest_and_counts_it() -> None:
    window = Window(0)
    window.add(piece(2, 4, 6, position=8, pending=5))
    assert taken(window.after(0, 2)) == ([2, 4], 4, 6)
    assert taken(window.after(4, 1)) == ([6], 8, 5)


def test_a_position_moves_without_messages() -> None:
    window = Window(3)
    window.add(piece(position=8))
    assert window.holds(3)
    assert taken(window.after(3, 10)) == ([], 8, 0)


def test_the_oldest_messages_are_evicted_and_positions_before_them_are_not_held(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(message_window, "_MESSAGES", 3)
    window = Window(0)
    window.add(piece(2, 4, 6))
    assert window.holds(0)
    window.add(piece(8))
    assert (window.begin, window.holds(0), window.holds(1), window.holds(2)) == (2, False, False, True)
    assert taken(window.after(2, 10)) == ([4, 6, 8], 8, 0)


def test_bytes_are_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(message_window, "_BYTES", 100)
    window = Window(0)
    for sequence in range(1, 12):
        window.add(piece(sequence, size=30))
        assert len(window.after(window.begin, 100).messages) <= 3
    assert taken(window.after(window.begin, 100)) == ([9, 10, 11], 11, 0)


def test_what_was_read_last_is_held_whatever_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(message_window, "_MESSAGES", 2)
    window = Window(0)
    window.add(piece(1))
    window.add(piece(2, 3, 4, 5))
    assert (window.begin, window.end) == (1, 5)
    assert taken(window.after(1, 10)) == ([2, 3, 4, 5], 5, 0)


def test_a_forgotten_window_holds_only_its_end() -> None:
    window = Window(0)
    window.add(piece(1, 2))
    window.forget()
    assert [position for position in range(4) if window.holds(position)] == [2]
    window.add(piece(3))
    assert taken(window.after(2, 10)) == ([3], 3, 0)


def test_a_reader_gets_events_already_opened() -> None:
    envelope = _envelope()
    window = Window(0)
    window.add(ReadBatch([Message("S", 5, "s", encode(envelope))], 5, 0))
    (first,), (second,) = window.after(0, 10).messages, window.after(4, 10).messages
    assert first.opened is not None
    assert first.opened is second.opened
    assert first.opened == Message("S", 5, "s", first.payload).open()


def test_messages_that_cannot_be_opened_are_returned_unchanged() -> None:
    payloads = [b"no envelope", encode(msgspec.structs.replace(_envelope(), type="never.heard.of"))]
    messages = [Message("S", sequence, "s", payload) for sequence, payload in enumerate(payloads, start=1)]
    window = Window(0)
    window.add(ReadBatch(messages, 2, 0))
    assert window.after(0, 10).messages == messages


def test_gaps_are_returned_to_readers_before_them() -> None:
    window = Window(0)
    gaps = [Gap("S", 2, 3), Gap("S", 6, 6)]
    window.add(msgspec.structs.replace(piece(1, 4, 5, position=6), gaps=gaps))
    assert window.after(0, 10).gaps == gaps
    assert window.after(0, 2).gaps == gaps[:1]
    assert window.after(4, 10).gaps == gaps[1:]
    assert window.after(6, 10).gaps == []


def test_a_position_within_a_gap_gets_the_rest_of_the_gap() -> None:
    window = Window(4)
    window.add(ReadBatch([], 8, 0, [Gap("S", 5, 8)]))
    assert window.after(4, 10).gaps == [Gap("S", 5, 8)]
    assert window.after(6, 10).gaps == [Gap("S", 7, 8)]
    assert window.after(8, 10).gaps == []
