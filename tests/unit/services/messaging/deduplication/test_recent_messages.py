"""The latest messages by their client's ids: an id is never ruled out without certainty."""

from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.messaging.deduplication import recent_messages
from services.messaging.deduplication.recent_messages import ConversationTail, RecentMessages
from services.messaging.domain import Sent


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
    tails = RecentMessages()
    for sequence in range(1, 4):
        tails.add("c", (sequence - 1) * 10, message(sequence), f"id{sequence}")
    tail = tails.get("c")
    assert tail is not None
    assert tail.covers(0, 30)
    assert not tail.covers(0, 31)
    assert tail.find("anna", "id2") == message(2)
    assert tail.find("ben", "id2") is None


def test_a_message_of_another_sender_in_between_breaks_the_tail() -> None:
    tails = RecentMessages()
    tails.add("c", 0, message(1), "id1")
    tails.add("c", 20, message(3), "id3")
    tail = tails.get("c")
    assert tail is not None
    assert tail.covers(20, 30)
    assert not tail.covers(10, 30)


@given(st.integers(min_value=1, max_value=300))
def test_a_tail_claims_only_what_it_holds(count: int) -> None:
    tail = ConversationTail(0)
    for sequence in range(1, count + 1):
        tail.add(message(sequence), f"id{sequence}")
    for sequence in range(1, count + 1):
        held = tail.find("anna", f"id{sequence}")
        assert held == message(sequence) if sequence > count - recent_messages._OF_ONE else held is None
        assert not tail.rules_out(tail.from_sequence, count * 10, "anna", f"id{sequence}")
    assert tail.rules_out(tail.from_sequence, count * 10, "ben", "id1")
    assert tail.rules_out(tail.from_sequence, count * 10, "anna", f"id{count + 1}")
    assert not tail.rules_out(tail.from_sequence, count * 10 + 1, "ben", "id1")
    assert not tail.rules_out(tail.from_sequence - 1, count * 10, "ben", "id1")


def test_ids_beyond_the_bound_are_evicted_and_never_ruled_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recent_messages, "IDS_OF_ONE", 10)
    tail = ConversationTail(0)
    for sequence in range(1, 101):
        tail.add(message(sequence), f"id{sequence}")
        for earlier in range(1, sequence + 1):
            assert not tail.rules_out(0, sequence * 10, "anna", f"id{earlier}")
    assert tail.from_sequence > 0
    assert not tail.covers(0, 1_000)
    assert tail.rules_out(tail.from_sequence, 1_000, "anna", "new")


@given(st.lists(st.integers(min_value=0, max_value=5), max_size=60))
def test_the_weight_of_all_tails_is_counted_correctly(conversations: list[int]) -> None:
    tails = RecentMessages()
    lengths = [0] * 6
    for number in conversations:
        lengths[number] += 1
        tails.add(str(number), (lengths[number] - 1) * 10, message(lengths[number]), f"id{lengths[number]}")
    assert tails._tails.weight == sum(lengths) + sum(1 for length in lengths if length)


def test_ids_learned_of_earlier_messages_are_not_ruled_out_and_new_ones_are() -> None:
    tail = ConversationTail(0)
    tail.learn([("anna", "id1"), ("ben", "id1")])
    tail.to_sequence = 20
    assert tail.rules_out(0, 20, "anna", "id2")
    assert not tail.rules_out(0, 20, "ben", "id1")
    assert not tail.rules_out(0, 21, "anna", "id2")
    assert tail.find("anna", "id1") is None


def test_the_conversation_used_longest_ago_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent_messages, "_OF_ALL", 100)
    tails = RecentMessages()
    long = ConversationTail(0)
    long.learn(("anna", f"id{number}") for number in range(64 * 60))
    for name, tail in (("old", ConversationTail(0)), ("long", long)):
        tails.put(name, tail)
    for number in range(50):
        tails.add(f"new{number}", 0, message(1), "id1")
    assert tails.get("old") is None
    assert tails.get("long") is None
    assert tails.get("new49") is not None
    held = [kept_tail for number in range(50) if (kept_tail := tails.get(f"new{number}")) is not None]
    assert tails._tails.weight == sum(1 + kept_tail.size for kept_tail in held) <= 100


def test_a_tail_that_comes_back_after_it_was_evicted_counts_whole() -> None:
    tails, tail = RecentMessages(), ConversationTail(0)
    tail.add(message(1), "id1")
    tails.put("c", tail)
    tails._tails.clear()
    tails.put("c", tail)
    assert tails._tails.weight == 2


def test_the_texts_of_an_erased_sender_are_forgotten_and_the_ids_still_known() -> None:
    tails = RecentMessages()
    tails.add("c", 0, message(1), "id1")
    bens_message = msgspec.structs.replace(message(2), sender_id="ben")
    tails.add("c", 10, bens_message, "id2")
    tails.add("other", 0, message(3), "id3")
    tails.erase({"anna", "nobody"})
    tail, other = tails.get("c"), tails.get("other")
    assert tail is not None
    assert other is not None
    assert tail.find("anna", "id1") == msgspec.structs.replace(message(1), text=None)
    assert tail.find("ben", "id2") == bens_message
    assert other.find("anna", "id3") == msgspec.structs.replace(message(3), text=None)
