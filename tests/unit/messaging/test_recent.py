"""The latest messages by their client's ids: never a no that is not sure."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from services.messaging.domain import Sent
from services.messaging.recent import Tail, Tails


def message(sequence: int) -> Sent:
    return Sent(
        message_id=f"m{sequence}",
        sequence=sequence,
        sender_id="anna",
        text="x",
        sent_at=datetime(2026, 1, 1, tzinfo=UTC),
        stream_sequence=sequence * 10,
    )


def test_a_conversation_followed_from_its_beginning_is_known_whole() -> None:
    tails = Tails()
    for sequence in range(1, 4):
        tails.add("c", (sequence - 1) * 10, message(sequence), f"id{sequence}")
    tail = tails.get("c")
    assert tail is not None
    assert tail.covers(0, 30)
    assert not tail.covers(0, 31)
    assert tail.find("anna", "id2") == message(2)
    assert tail.find("ben", "id2") is None


def test_a_message_that_somebody_else_sent_in_between_breaks_the_tail() -> None:
    tails = Tails()
    tails.add("c", 0, message(1), "id1")
    tails.add("c", 20, message(3), "id3")
    tail = tails.get("c")
    assert tail is not None
    assert tail.covers(20, 30)
    assert not tail.covers(10, 30)


@given(st.integers(min_value=1, max_value=300))
def test_a_tail_claims_only_what_it_holds(count: int) -> None:
    tail = Tail(0)
    for sequence in range(1, count + 1):
        tail.add(message(sequence), f"id{sequence}")
    for sequence in range(1, count + 1):
        if sequence * 10 > tail.since:
            assert tail.find("anna", f"id{sequence}") == message(sequence)
    assert tail.covers(tail.since, count * 10)
    assert not tail.covers(tail.since - 1, count * 10)


@given(st.lists(st.integers(min_value=0, max_value=5), max_size=60))
def test_what_all_tails_hold_is_counted_right(conversations: list[int]) -> None:
    tails = Tails()
    lengths = [0] * 6
    for number in conversations:
        lengths[number] += 1
        tails.add(str(number), (lengths[number] - 1) * 10, message(lengths[number]), f"id{lengths[number]}")
    assert tails._size == sum(lengths)
