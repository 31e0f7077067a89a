"""Given what happened, when somebody asks, then these events follow or that refusal."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import EmailTaken, TokenExpired, UsernameTaken, VestnikError
from contracts.event import Event
from contracts.events.user import (
    EmailClaimed,
    EmailVerificationRequested,
    EmailVerified,
    MailSent,
    UserCreated,
    UserEmailVerified,
    UsernameClaimed,
)
from services.auth import domain
from services.auth.domain import EmailClaim, Mails, Register, User, UsernameClaim

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
ANNA = Register(user_id="anna", email="Anna@Example.org", username="anna")
BORIS = Register(user_id="boris", email="anna@example.org", username="anna")


def claim(*events: Event) -> EmailClaim:
    state = EmailClaim()
    for event in events:
        state = domain.evolve_email_claim(state, event, START)
    return state


def claimed(by: Register = ANNA, until: datetime = START + DAY) -> EmailClaimed:
    return EmailClaimed(user_id=by.user_id, email=by.email, username=by.username, expires_at=until)


def test_a_free_address_is_claimed_as_it_was_typed() -> None:
    assert domain.decide_claim_email(claim(), ANNA, START, DAY) == (claimed(),)


def test_an_address_that_waits_for_verification_is_taken() -> None:
    with pytest.raises(EmailTaken):
        domain.decide_claim_email(claim(claimed()), BORIS, START + DAY - timedelta(seconds=1), DAY)


def test_a_verified_address_is_taken_for_good() -> None:
    with pytest.raises(EmailTaken):
        domain.decide_claim_email(claim(claimed(), EmailVerified(user_id="anna")), BORIS, START + 1000 * DAY, DAY)


def test_a_lapsed_address_goes_to_whoever_asks_next() -> None:
    events = domain.decide_claim_email(claim(claimed()), BORIS, START + DAY, DAY)
    assert events == (claimed(BORIS, START + 2 * DAY),)


def test_a_request_for_another_mail_prolongs_the_claim() -> None:
    (event,) = domain.decide_request_verification(claim(claimed()), START + DAY / 2, DAY)
    assert event == EmailVerificationRequested(user_id="anna", expires_at=START + 1.5 * DAY)
    with pytest.raises(EmailTaken):
        domain.decide_claim_email(claim(claimed(), event), BORIS, START + DAY, DAY)


@pytest.mark.parametrize("state", [claim(), claim(claimed(), EmailVerified(user_id="anna"))])
def test_nobody_gets_another_mail_who_does_not_wait_for_one(state: EmailClaim) -> None:
    assert domain.decide_request_verification(state, START, DAY) == ()


def test_a_username_is_claimed_once_and_never_again() -> None:
    (event,) = domain.decide_claim_username(UsernameClaim(), ANNA)
    assert event == UsernameClaimed(user_id="anna")
    with pytest.raises(UsernameTaken):
        domain.decide_claim_username(domain.evolve_username_claim(UsernameClaim(), event, START), BORIS)


def test_a_token_verifies_while_it_is_good() -> None:
    events = domain.decide_verify_email(claim(claimed()), "anna", START + DAY, START)
    assert events == (EmailVerified(user_id="anna"),)


def test_a_token_used_again_changes_nothing_even_after_it_has_run_out() -> None:
    state = claim(claimed(), EmailVerified(user_id="anna"))
    assert domain.decide_verify_email(state, "anna", START + DAY, START + 1000 * DAY) == ()


def test_a_token_runs_out() -> None:
    with pytest.raises(TokenExpired):
        domain.decide_verify_email(claim(claimed()), "anna", START + DAY, START + DAY)


def test_an_older_token_runs_out_although_a_newer_mail_prolonged_the_claim() -> None:
    state = claim(claimed(), EmailVerificationRequested(user_id="anna", expires_at=START + 3 * DAY))
    with pytest.raises(TokenExpired):
        domain.decide_verify_email(state, "anna", START + DAY, START + 2 * DAY)


@pytest.mark.parametrize("verified", [True, False])
def test_a_token_is_void_once_the_address_went_to_someone_else(verified: bool) -> None:
    state = claim(claimed(), claimed(BORIS, START + 3 * DAY))
    if verified:
        state = domain.evolve_email_claim(state, EmailVerified(user_id="boris"), START)
    with pytest.raises(TokenExpired):
        domain.decide_verify_email(state, "anna", START + 2 * DAY, START + DAY)


def test_a_user_is_verified_once() -> None:
    user = domain.evolve_user(User(), UserCreated(username="anna"), START)
    assert domain.decide_user_verified(user) == (UserEmailVerified(),)
    assert domain.decide_user_verified(domain.evolve_user(user, UserEmailVerified(), START)) == ()


def test_a_mail_is_recorded_once_for_each_event_that_asked() -> None:
    (event,) = domain.decide_record_mail(Mails(), "first")
    assert event == MailSent(kind="verification", requested_by="first")
    mails = domain.evolve_mails(Mails(), event, START)
    assert domain.decide_record_mail(mails, "first") == ()
    assert domain.decide_record_mail(mails, "second") != ()


@pytest.mark.parametrize(
    ("state", "due"),
    [
        (claim(claimed()), True),
        (claim(claimed(), EmailVerified(user_id="anna")), False),
        (claim(claimed(), claimed(BORIS)), False),
        (claim(claimed(until=START)), False),
    ],
)
def test_a_mail_is_due_while_its_token_could_be_used(state: EmailClaim, due: bool) -> None:
    assert state.expires_at is not None
    assert domain.verification_is_due(state, "anna", state.expires_at, START) is due


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["claim", "verify", "resend"]),
        st.integers(0, 3),
        st.integers(0, 30),  # hours that pass before
    ),
    max_size=40,
)


@given(STEPS)
def test_whatever_happens_an_address_has_one_holder_and_a_verified_one_keeps_it(
    steps: list[tuple[str, int, int]],
) -> None:
    state, now = EmailClaim(), START
    for what, who, hours in steps:
        now += timedelta(hours=hours)
        before, person = state, f"user-{who}"
        try:
            if what == "claim":
                command = Register(user_id=person, email="a@b.cd", username=person)
                events = domain.decide_claim_email(state, command, now, DAY)
            elif what == "verify":
                events = domain.decide_verify_email(state, person, now + DAY, now)
            else:
                events = domain.decide_request_verification(state, now, DAY)
        except VestnikError:
            continue
        for event in events:
            state = domain.evolve_email_claim(state, event, now)
        if state.holder != before.holder:
            assert what == "claim"
            assert before.holder is None or before.lapsed(now)
        if before.verified:
            assert state == before
        if state.verified and not before.verified:
            assert what == "verify"
            assert state.holder == person
