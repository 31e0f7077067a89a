import msgspec

from tests.faults.history import FinalConversation, Message
from tests.unit.faults.made_up import ANNA, BORIS, conversation, findings, send, stored


def test_a_conversation_without_a_fault_is_found_sound() -> None:
    repeated = [send(2, 3.0, status=503, code="unavailable"), send(2, 4.0, status=200)]
    assert findings(send(1, 1.0), *repeated, *conversation(stored(1), stored(2))) == []


def test_a_message_whose_outcome_stayed_unknown_may_be_stored_or_not() -> None:
    unknown = send(1, 1.0, status=504, code="deadline_exceeded")
    assert findings(unknown, *conversation()) == []
    assert findings(unknown, *conversation(stored(1))) == []


def test_an_acknowledged_message_that_is_not_stored_is_lost() -> None:
    assert findings(send(1, 1.0), send(2, 2.0), *conversation(stored(1))) == ["messages.lost"]


def test_a_message_that_is_stored_at_another_sequence_is_lost() -> None:
    at_another_sequence = Message("m1", 2, ANNA, "text 1")
    assert "messages.lost" in findings(send(1, 1.0), *conversation(at_another_sequence))


def test_a_conversation_that_was_not_read_by_both_proves_nothing() -> None:
    assert findings(send(1, 1.0), conversation(stored(1))[0]) == ["messages.unread"]


def test_a_message_that_is_stored_twice_is_doubled() -> None:
    duplicate = Message("m2", 2, ANNA, "text 1")
    assert findings(send(1, 1.0), *conversation(stored(1), duplicate)) == ["messages.doubled"]


def test_a_repetition_that_is_answered_with_another_message_is_doubled() -> None:
    other = msgspec.structs.replace(send(1, 2.0), answer={"message_id": "m2", "sequence": 2})
    duplicate = Message("m2", 2, ANNA, "text 1")
    assert findings(send(1, 1.0), other, *conversation(stored(1), duplicate)) == ["messages.doubled"]


def test_a_message_that_was_sent_after_another_and_comes_before_it_is_reordered() -> None:
    assert findings(send(2, 1.0), send(1, 2.0), *conversation(stored(1), stored(2))) == ["messages.reordered"]


def test_messages_that_were_sent_at_the_same_time_have_any_order() -> None:
    assert findings(send(2, 1.0), send(1, 1.05), *conversation(stored(1), stored(2))) == []


def test_a_message_that_was_repeated_counts_from_its_first_attempt() -> None:
    attempts = [send(1, 1.0, status=503, code="unavailable"), send(1, 3.0, status=200)]
    assert findings(*attempts, send(2, 2.0), *conversation(stored(1), stored(2))) == []


def test_a_sequence_that_is_left_out_is_a_gap() -> None:
    assert findings(send(1, 1.0), send(3, 2.0), *conversation(stored(1), stored(3))) == ["messages.gapped"]


def test_two_people_who_read_different_texts_are_noticed() -> None:
    other = FinalConversation(reader=BORIS, other=ANNA, messages=[Message("m1", 1, ANNA, "changed")])
    names = findings(send(1, 1.0), conversation(stored(1))[0], other)
    assert "messages.different" in names


def test_a_message_that_was_refused_and_is_stored_is_invented() -> None:
    refused = send(1, 1.0, status=403, code="not_friends")
    assert findings(refused, *conversation(stored(1))) == ["messages.invented"]


def test_a_message_that_was_never_sent_is_invented() -> None:
    assert findings(*conversation(stored(1))) == ["messages.invented"]
