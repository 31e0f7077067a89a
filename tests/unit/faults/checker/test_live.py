from tests.faults.history import LiveEvent, Message
from tests.unit.faults.made_up import (
    ANNA,
    BORIS,
    conversation,
    delivered,
    findings,
    followed,
    send,
    stored,
    unfriend,
)

SENT = [send(1, 1.0), send(2, 2.0), *conversation(stored(1), stored(2))]


def test_a_client_that_got_everything_once_is_sound() -> None:
    assert findings(*SENT, delivered(stored(1), 1.1), delivered(stored(2), 2.1), followed()) == []


def test_a_message_that_was_not_delivered_is_missed() -> None:
    assert findings(*SENT, delivered(stored(1), 1.1), followed()) == ["live.missed"]


def test_a_message_between_two_delivered_ones_is_missed_even_if_it_was_not_acknowledged() -> None:
    records = [send(1, 1.0), send(2, 2.0, 503, code="unavailable"), send(3, 3.0)]
    events = [delivered(stored(1), 1.1), delivered(stored(3), 3.1)]
    names = findings(*records, *events, followed(), *conversation(stored(1), stored(2), stored(3)))
    assert names == ["live.missed"]


def test_a_client_that_still_lagged_at_the_end_proves_nothing() -> None:
    assert findings(*SENT, delivered(stored(1), 1.1), followed(reason="ended")) == []


def test_a_conversation_that_was_closed_may_be_left_out() -> None:
    assert findings(*SENT, followed(), unfriend(ANNA, 5.0)) == []


def test_messages_that_are_delivered_in_another_order_are_noticed() -> None:
    assert findings(*SENT, delivered(stored(2), 2.1), delivered(stored(1), 2.2), followed()) == ["live.missed"]


def test_a_message_that_is_delivered_again_after_a_resume_is_doubled() -> None:
    events = [delivered(stored(number), number + 0.1) for number in (1, 2)]
    assert findings(*SENT, *events, delivered(stored(2), 5.0, connection=2), followed()) == ["live.doubled"]


def test_a_change_of_a_friendship_that_is_delivered_twice_is_doubled() -> None:
    data = {"user_id": ANNA, "state": "accepted", "at": "2026-01-01T00:00:00.000Z"}
    accepted = LiveEvent(
        client=BORIS,
        user_id=BORIS,
        connection=1,
        id="p",
        type="friendship.accepted",
        data=data,
        received=1.0,
    )
    assert findings(accepted, accepted) == ["live.doubled"]


def test_a_message_that_is_delivered_and_not_stored_is_noticed() -> None:
    lost_message = Message("m3", 3, ANNA, "text 3")
    assert findings(*SENT, delivered(lost_message, 3.0)) == ["live.not_stored"]


def test_a_message_that_is_delivered_with_another_text_is_noticed() -> None:
    other_text = Message("m2", 2, ANNA, "another text")
    assert findings(*SENT, delivered(other_text, 3.0)) == ["live.not_stored"]
