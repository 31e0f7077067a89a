"""Ids of dead letters, and the order in which they wait."""

import pytest
from psycopg import DataError, IntegrityError

from projections.engine.storage.dead_letters import (
    Counts,
    DeadLetter,
    DeadLetterState,
    LetterId,
    keep_first_reason,
    reason_of,
)
from streams.message import Message


def letter(sequence: int, subject: str, reason: str | None = "it failed") -> DeadLetter:
    return DeadLetter(message=Message("MESSAGING", sequence, subject, b""), type="message.sent", reason=reason)


def test_an_id_is_read_as_it_is_written() -> None:
    letter_id = LetterId("session_audit", 2, 3, "SESSION", 17)
    assert str(letter_id) == "session_audit.v2.b3.SESSION.17"
    assert LetterId.parse(str(letter_id)) == letter_id


@pytest.mark.parametrize("text", ["", "a.b.c.d.e", "letters.v1.b2.MESSAGING", "a.vx.b2.AUTH.1", "a.v1.b1..2"])
def test_what_is_no_id_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        LetterId.parse(text)


def test_a_reason_can_be_written_down_whatever_the_error_says() -> None:
    assert reason_of(ValueError("half \ud800 and \x00")) == "ValueError: half \\ud800 and \\0"


def test_of_an_aggregate_the_first_has_failed_and_all_others_wait() -> None:
    ordered = keep_first_reason([letter(3, "a"), letter(2, "b", None), letter(1, "a"), letter(4, "b")])
    assert [(dead_letter.message.sequence, dead_letter.reason is None) for dead_letter in ordered] == [
        (1, False),
        (2, True),
        (3, True),
        (4, True),
    ]


def test_a_writer_knows_of_the_letters_that_it_has_added() -> None:
    state = DeadLetterState(revision=1)
    state.add([letter(1, "a"), letter(2, "a", None), letter(3, "b")])
    assert state.counts == Counts(failed=2, parked=1)
    assert state.blocked == {"a", "b"}


def test_two_dead_letter_states_share_nothing() -> None:
    one, other = DeadLetterState(), DeadLetterState()
    one.add([letter(1, "a")])
    assert other.blocked == set()


def test_a_reason_is_short_and_holds_nothing_that_the_database_would_refuse() -> None:
    assert reason_of(ValueError("no\x00text")) == "ValueError: no\\0text"
    assert len(reason_of(ValueError("x" * 10_000))) == 2_000


@pytest.mark.parametrize("kind", ["email.claimed", "message.sent", "operator.acted"])
def test_the_reason_of_an_event_that_is_private_or_has_personal_data_tells_the_kind_of_error_alone(kind: str) -> None:
    assert "a@example.org" in reason_of(ValueError("a@example.org"), "message.seen")
    for error in (ValueError("a@example.org"), KeyError("a@example.org"), DataError("a@example.org")):
        assert "a@example.org" not in reason_of(error, kind)
        assert type(error).__name__ in reason_of(error, kind)
    # A missing upcast or type is no secret and the first thing to know; neither is the name of a constraint.
    assert "no step leads" in reason_of(LookupError("no step leads"), kind)
    assert "texts_text_check" in reason_of(IntegrityError("violates check constraint texts_text_check"), kind)
