import msgspec

from tests.unit.faults.made_up import BORIS, conversation, findings, followed, read, send, stored

BOTH = conversation(stored(1), stored(2))


def test_a_read_that_shows_all_that_its_client_has_written_is_sound() -> None:
    assert findings(send(1, 1.0), send(2, 2.0), read(2, 3.0), *BOTH) == []


def test_a_read_without_the_last_acknowledged_message_is_stale() -> None:
    assert findings(send(1, 1.0), send(2, 2.0), read(1, 3.0), *BOTH) == ["reads.stale"]


def test_a_read_may_leave_out_what_was_acknowledged_after_it_began() -> None:
    assert findings(send(1, 1.0), send(2, 2.0), read(1, 2.05), *BOTH) == []


def test_a_read_may_leave_out_what_another_person_wrote() -> None:
    assert findings(send(1, 1.0), send(2, 2.0), read(1, 3.0, user=BORIS), *BOTH) == []


def test_a_read_older_than_an_earlier_one_is_stale() -> None:
    assert findings(send(1, 1.0), send(2, 2.0), read(2, 3.0, user=BORIS), read(1, 4.0, user=BORIS), *BOTH) == [
        "reads.stale"
    ]


def test_a_read_without_a_position_promises_nothing() -> None:
    assert findings(send(1, 1.0), send(2, 2.0), read(1, 3.0, position=""), *BOTH) == []


def test_an_answered_position_that_is_refused_later_is_noticed() -> None:
    refused = read(0, 1.0, status=422, code="history_changed")
    assert findings(refused) == ["answers.wrong_status", "reads.unknown_positions"]


def test_a_resume_from_an_answered_position_that_is_refused_is_noticed() -> None:
    assert findings(msgspec.structs.replace(followed(), status=422, reason="history_changed")) == [
        "reads.unknown_positions"
    ]
