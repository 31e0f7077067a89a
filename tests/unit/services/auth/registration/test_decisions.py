"""Given what happened to an address and a name, when someone registers or verifies, then these events follow."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import TokenExpired, UsernameTaken, VestnikError
from contracts.events.event import Event
from contracts.events.user import (
    AddressState,
    EmailClaimed,
    EmailRegistrationRequested,
    EmailVerificationRequested,
    EmailVerified,
    PasswordResetRequested,
    PendingRegistration,
    UsernameClaimed,
    UsernameConfirmed,
)
from services.auth import domain
from services.auth.registration import decisions
from services.auth.registration.decisions import MOST_PENDING, Register, Username

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
ANNA = Register(user_id="anna", email="Anna@Example.org", username="anna")
BORIS = Register(user_id="boris", email="anna@example.org", username="anna")


def address(*events: Event) -> AddressState:
    state = AddressState()
    for event in events:
        state = decisions.evolve_address(state, event, START)
    return state


def registered(state: AddressState, command: Register = ANNA, at: datetime = START) -> AddressState:
    return after(state, decisions.decide_register(state, command, at, DAY))


def verified(state: AddressState, user_id: str = "anna", at: datetime = START) -> AddressState:
    return after(state, decisions.decide_verify(state, user_id, START + 1000 * DAY, at))


def after(state: AddressState, events: tuple[Event, ...]) -> AddressState:
    for event in events:
        assert decisions.carries_state(event)
        # Whatever was before: the event says everything.
        assert decisions.evolve_address(AddressState(), event, START) == decisions.evolve_address(state, event, START)
        state = decisions.evolve_address(state, event, START)
    return state


def pending(command: Register = ANNA, until: datetime = START + DAY) -> PendingRegistration:
    return PendingRegistration(
        user_id=command.user_id, email=command.email, username=command.username, expires_at=until
    )


def name(*events: tuple[Event, datetime]) -> Username:
    state = Username()
    for event, at in events:
        state = decisions.evolve_username(state, event, at)
    return state


def test_a_registration_is_pending_with_the_address_as_it_was_typed() -> None:
    (event,) = decisions.decide_register(AddressState(), ANNA, START, DAY)
    assert event == EmailRegistrationRequested(user_id="anna", address=AddressState(pending=(pending(),)))


def test_any_number_of_registrations_may_be_pending_and_those_that_ran_out_are_left_out() -> None:
    state = registered(registered(AddressState()), BORIS, START + HOUR)
    assert [registration.user_id for registration in state.pending] == ["anna", "boris"]
    clara = Register(user_id="clara", email="anna@example.org", username="clara")
    assert [registration.user_id for registration in registered(state, clara, START + DAY).pending] == [
        "boris",
        "clara",
    ]


def test_a_registration_on_a_taken_address_leads_to_the_same_event() -> None:
    taken = verified(registered(AddressState()))
    (event,) = decisions.decide_register(taken, BORIS, START, DAY)
    (fresh,) = decisions.decide_register(AddressState(), BORIS, START, DAY)
    assert type(event) is type(fresh)
    assert event.address.pending == fresh.address.pending
    assert event.address.owner == "anna"


def test_a_registration_beyond_sixteen_evicts_the_oldest() -> None:
    state = AddressState()
    for number in range(MOST_PENDING + 1):
        state = registered(state, Register(user_id=f"{number}", email="a@b.cd", username=f"u{number}"))
    assert [registration.user_id for registration in state.pending] == [
        f"{number}" for number in range(1, MOST_PENDING + 1)
    ]
    with pytest.raises(TokenExpired):
        decisions.decide_verify(state, "0", START + DAY, START)


def test_the_first_to_be_verified_owns_the_address_and_the_others_end() -> None:
    state = verified(registered(registered(AddressState()), BORIS), "boris")
    assert state == AddressState(owner="boris", email="anna@example.org", username="anna")
    with pytest.raises(TokenExpired):
        decisions.decide_verify(state, "anna", START + DAY, START)


def test_each_registration_keeps_its_language_and_the_owner_that_of_the_registration() -> None:
    state = registered(AddressState(), msgspec.structs.replace(ANNA, language="ru"))
    state = registered(state, BORIS)
    assert [registration.language for registration in state.pending] == ["ru", "en"]
    owned = verified(state)
    assert owned.language == "ru"
    assert registered(owned, BORIS).language == "ru"
    (reset_request,) = domain.decide_request_reset(owned, "anna", 1, START, DAY)
    assert reset_request.address is not None
    assert reset_request.address.language == "ru"


def test_a_registration_of_an_older_release_is_in_english() -> None:
    stored = b"""{"user_id": "anna", "address": {"pending": [
        {"user_id": "anna", "email": "anna@example.org", "username": "anna", "expires_at": "2026-01-02T00:00:00Z"}
    ]}}"""
    event = msgspec.json.decode(stored, type=EmailRegistrationRequested)
    assert event.address.pending[0].language == "en"
    assert verified(event.address).language == "en"


def test_a_registration_on_an_address_with_an_owner_is_never_verified() -> None:
    state = registered(verified(registered(AddressState())), BORIS)
    with pytest.raises(TokenExpired):
        decisions.decide_verify(state, "boris", START + DAY, START)


def test_a_token_used_again_changes_nothing_even_after_it_has_run_out() -> None:
    state = verified(registered(AddressState()))
    assert decisions.decide_verify(state, "anna", START + DAY, START + 1000 * DAY) == ()


@pytest.mark.parametrize(("token_until", "now"), [(START + DAY, START + DAY), (START + 9 * DAY, START + DAY)])
def test_a_token_runs_out_with_its_registration(token_until: datetime, now: datetime) -> None:
    with pytest.raises(TokenExpired):
        decisions.decide_verify(registered(AddressState()), "anna", token_until, now)


def test_the_password_is_needed_while_several_registrations_are_pending() -> None:
    one_pending = registered(AddressState())
    assert not decisions.needs_password(one_pending, START)
    two_pending = registered(one_pending, BORIS, START + HOUR)
    assert decisions.needs_password(two_pending, START + HOUR)
    assert not decisions.needs_password(two_pending, START + DAY)


def test_another_mail_moves_no_end_and_revives_nothing() -> None:
    state = registered(registered(AddressState()), BORIS, START + HOUR)
    (event,) = decisions.decide_request_mail(state, START + DAY)
    assert event.address == AddressState(pending=(pending(BORIS, START + HOUR + DAY),))
    assert decisions.decide_request_mail(state, START + HOUR + DAY) == ()


def test_no_other_mail_goes_to_an_address_without_a_pending_registration() -> None:
    assert decisions.decide_request_mail(AddressState(), START) == ()
    taken = verified(registered(AddressState()))
    assert decisions.decide_request_mail(registered(taken, BORIS), START) == ()


def test_a_name_is_reserved_until_the_registration_runs_out() -> None:
    (event,) = decisions.decide_claim_username(Username(), ANNA, START, DAY, holder_verified=False)
    assert event == UsernameClaimed(user_id="anna", expires_at=START + DAY)
    claimed = name((event, START))
    with pytest.raises(UsernameTaken):
        decisions.decide_claim_username(claimed, BORIS, START + DAY - HOUR, DAY, holder_verified=False)
    (taken,) = decisions.decide_claim_username(claimed, BORIS, START + DAY, DAY, holder_verified=False)
    assert taken.user_id == "boris"
    assert (claimed.holder_at(START), claimed.holder_at(START + DAY)) == ("anna", None)


def test_a_confirmed_name_is_taken_for_good() -> None:
    claimed = name((UsernameClaimed(user_id="anna", expires_at=START + DAY), START))
    (event,) = decisions.decide_confirm_username(claimed, "anna")
    confirmed = name((event, START))
    assert event == UsernameConfirmed(user_id="anna")
    assert decisions.decide_confirm_username(confirmed, "anna") == ()
    assert confirmed.holder_at(START + 1000 * DAY) == "anna"
    with pytest.raises(UsernameTaken):
        decisions.decide_claim_username(confirmed, BORIS, START + 1000 * DAY, DAY, holder_verified=False)
    with pytest.raises(TokenExpired):
        decisions.decide_confirm_username(confirmed, "boris")


def test_the_reader_of_the_mail_may_end_a_registration_and_its_name_is_free_again() -> None:
    state = registered(registered(AddressState()), BORIS)
    ended = after(state, decisions.decide_end(state, "anna", START))
    assert ended == AddressState(pending=(pending(BORIS),))
    assert decisions.decide_end(ended, "anna", START) == ()
    claimed = name((UsernameClaimed(user_id="anna", expires_at=START + DAY), START))
    (event,) = decisions.decide_release_username(claimed, "anna")
    assert decisions.evolve_username(claimed, event, START) == Username()
    assert decisions.decide_release_username(claimed, "boris") == ()


def test_a_verified_registration_is_not_ended() -> None:
    with pytest.raises(TokenExpired):
        decisions.decide_end(verified(registered(AddressState())), "anna", START)
    confirmed = name((UsernameConfirmed(user_id="anna"), START))
    assert decisions.decide_release_username(confirmed, "anna") == ()


def test_a_token_identifies_its_registration_as_long_as_it_is_good() -> None:
    state = registered(AddressState())
    assert decisions.registration_of(state, "anna", START + DAY, START) == pending()
    assert decisions.registration_of(verified(state), "anna", START + DAY, START + 9 * DAY) is None
    with pytest.raises(TokenExpired):
        decisions.registration_of(state, "anna", START + DAY, START + DAY)


OLD_CLAIM = EmailClaimed(user_id="anna", email=ANNA.email, username="anna", expires_at=START + DAY)


def test_claims_of_older_releases_reach_the_same_states() -> None:
    assert address(OLD_CLAIM) == AddressState(pending=(pending(),))
    prolonged = EmailVerificationRequested(user_id="anna", expires_at=START + 2 * DAY)
    assert address(OLD_CLAIM, prolonged) == AddressState(pending=(pending(until=START + 2 * DAY),))
    taken_over = EmailClaimed(user_id="boris", email=BORIS.email, username="anna", expires_at=START + 3 * DAY)
    assert address(OLD_CLAIM, taken_over) == AddressState(pending=(pending(BORIS, START + 3 * DAY),))
    owned = AddressState(owner="anna", email=ANNA.email, username="anna")
    assert address(OLD_CLAIM, EmailVerified(user_id="anna")) == owned
    assert verified(address(OLD_CLAIM)) == owned
    reset_request = PasswordResetRequested(user_id="anna", credential=1, expires_at=START + HOUR)
    assert address(OLD_CLAIM, EmailVerified(user_id="anna"), reset_request).reset_requested_at == START
    assert not any(map(decisions.carries_state, (OLD_CLAIM, prolonged, EmailVerified(user_id="anna"), reset_request)))


def test_a_name_claimed_by_an_older_release_is_free_again_unless_its_holder_was_verified() -> None:
    old = name((UsernameClaimed(user_id="anna"), START))
    for now, holder_verified in ((START + HOUR, False), (START + 1000 * DAY, True)):
        with pytest.raises(UsernameTaken):
            decisions.decide_claim_username(old, BORIS, now, DAY, holder_verified=holder_verified)
    assert decisions.decide_claim_username(old, BORIS, START + DAY, DAY, holder_verified=False)
    assert decisions.decide_confirm_username(old, "anna") == (UsernameConfirmed(user_id="anna"),)


STEPS = st.lists(
    st.tuples(st.sampled_from(["register", "verify", "resend"]), st.integers(0, 30), st.integers(0, 30)), max_size=40
)


@given(STEPS)
def test_whatever_happens_an_address_has_one_owner_for_good_and_no_end_moves(steps: list[tuple[str, int, int]]) -> None:
    state, now = AddressState(), START
    ends: dict[str, datetime] = {}
    for action, number, hours in steps:
        now += timedelta(hours=hours)
        before, person = state, f"user-{number}"
        events: tuple[Event, ...] = ()
        try:
            if action == "register" and person not in ends:
                events = decisions.decide_register(
                    state, Register(user_id=person, email="a@b.cd", username=person), now, DAY
                )
                ends[person] = now + DAY
            elif action == "verify":
                events = decisions.decide_verify(state, person, now + DAY, now)
            elif action == "resend":
                events = decisions.decide_request_mail(state, now)
        except VestnikError:
            continue
        state = after(state, events)
        assert len(state.pending) <= MOST_PENDING
        assert all(registration.expires_at == ends[registration.user_id] for registration in state.pending)
        if before.owner is not None:
            assert state.owner == before.owner
        elif state.owner is not None:
            assert (action, state.owner) == ("verify", person)
            assert now < ends[person]
