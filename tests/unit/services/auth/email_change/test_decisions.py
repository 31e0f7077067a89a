"""Given an account's addresses, when a change is requested, confirmed or undone, then these events follow."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from contracts.errors import RateLimited, TokenExpired
from contracts.events.user import AddressState, EmailReleased, PendingRegistration
from services.auth.email_change import decisions
from services.auth.email_change.decisions import HELD, MOST_CHANGES
from services.auth.registration import decisions as registration
from services.auth.registration.decisions import MOST_PENDING, Register, as_of

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
OWN = AddressState(owner="anna", email="anna@example.org", username="anna", language="ru")
CHANGE = PendingRegistration(
    user_id="anna",
    email="New@example.org",
    username="anna",
    expires_at=START + DAY,
    language="ru",
    replaces="old-key",
    credential=1,
)
BORIS = Register(user_id="boris", email="new@example.org", username="boris")


def replaced(present: AddressState = OWN, at: datetime = START) -> tuple[AddressState, AddressState]:
    """The earlier and the new address after a change."""
    earlier, new = decisions.decide_replace(present, CHANGE, "new-key", at)
    assert new.address is not None
    return earlier.address, new.address


@pytest.mark.parametrize("address", [AddressState(), OWN, AddressState(owner="boris", email="new@example.org")])
def test_a_request_is_pending_for_taken_and_free_addresses(address: AddressState) -> None:
    (event,) = decisions.decide_request(address, CHANGE, START)
    assert event.address == msgspec.structs.replace(address, pending=(CHANGE,))


def test_a_second_request_to_an_address_takes_the_place_of_the_first() -> None:
    later = msgspec.structs.replace(CHANGE, expires_at=START + 2 * DAY)
    (event,) = decisions.decide_request(AddressState(pending=(CHANGE,)), later, START)
    assert event.address.pending == (later,)


def test_registrations_and_changes_share_the_places_of_an_address() -> None:
    state = AddressState()
    for number in range(MOST_PENDING):
        (registered,) = registration.decide_register(
            state, msgspec.structs.replace(BORIS, user_id=f"user{number}"), START, DAY
        )
        state = registered.address
    (event,) = decisions.decide_request(state, CHANGE, START)
    assert [pending.user_id for pending in event.address.pending] == [
        *(f"user{number}" for number in range(1, MOST_PENDING)),
        "anna",
    ]
    assert registration.registrations(event.address, START) == event.address.pending[:-1]


def test_a_pending_change_neither_verifies_a_registration_nor_asks_for_its_mail() -> None:
    state = AddressState(pending=(CHANGE,))
    with pytest.raises(TokenExpired):
        registration.decide_verify(state, "anna", START + DAY, START)
    assert registration.decide_request_mail(state, START) == ()


def test_the_reader_of_the_mail_ends_a_change_and_nothing_else() -> None:
    (registered,) = registration.decide_register(AddressState(), BORIS, START, DAY)
    (requested,) = decisions.decide_request(registered.address, CHANGE, START)
    (ended,) = registration.decide_end(requested.address, "anna", START)
    assert ended.address == registered.address


def test_a_change_gives_the_account_the_new_address_and_leaves_it_the_earlier_one_for_a_while() -> None:
    old, new = replaced()
    assert new == AddressState(
        owner="anna",
        email="New@example.org",
        username="anna",
        language="ru",
        replaces="old-key",
        changed_at=(START,),
    )
    assert old == msgspec.structs.replace(OWN, owner_until=START + HELD, replaced_by="new-key")
    assert as_of(old, START + HELD - timedelta(milliseconds=1)).owner == "anna"
    assert as_of(old, START + HELD) == AddressState()


@pytest.mark.parametrize("days", [0, 3, 6])
def test_nobody_else_verifies_the_earlier_address_while_it_is_the_accounts(days: int) -> None:
    old, _ = replaced()
    now = START + days * DAY
    (registered,) = registration.decide_register(old, BORIS, now, DAY)
    with pytest.raises(TokenExpired):
        registration.decide_verify(registered.address, "boris", now + DAY, now)


def test_afterwards_the_earlier_address_goes_to_the_next_who_verifies_it_even_one_who_registered_before() -> None:
    old, _ = replaced()
    now = START + HELD
    (early,) = registration.decide_register(old, BORIS, now - DAY / 2, DAY)
    (verified,) = registration.decide_verify(early.address, "boris", now + DAY, now)
    assert verified.address == AddressState(owner="boris", email="new@example.org", username="boris")


@pytest.mark.parametrize(
    ("address", "generation", "now"),
    [
        (AddressState(owner="boris"), 1, START),
        (AddressState(), 2, START),
        (AddressState(), 1, START + DAY),
    ],
)
def test_a_token_ends_with_its_time_with_another_password_and_with_another_owner(
    address: AddressState, generation: int, now: datetime
) -> None:
    decisions.check_token(AddressState(), CHANGE, START + DAY, 1, START)
    with pytest.raises(TokenExpired):
        decisions.check_token(address, CHANGE, START + DAY, generation, now)


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_token_of_another_request_confirms_nothing(hours: int) -> None:
    of_another = START + DAY + timedelta(hours=hours)
    with pytest.raises(TokenExpired):
        decisions.check_token(AddressState(), CHANGE, of_another, 1, START)
    # A token has milliseconds, a request microseconds.
    exact = msgspec.structs.replace(CHANGE, expires_at=START + DAY + timedelta(microseconds=1_999))
    decisions.check_token(AddressState(), exact, START + DAY + timedelta(milliseconds=1), 1, START)


def test_a_request_for_the_present_address_is_no_change() -> None:
    (event,) = decisions.decide_request(OWN, CHANGE, START)
    assert decisions.change_of(event.address, "anna", START) is None
    old, _ = replaced()
    (event,) = decisions.decide_request(old, CHANGE, START)
    assert decisions.change_of(event.address, "anna", START) == CHANGE
    assert decisions.change_of(event.address, "boris", START) is None
    assert decisions.change_of(event.address, "anna", START + DAY) is None


def test_an_undo_restores_the_first_address_of_a_chain_and_frees_the_others_for_pending_registrations() -> None:
    old, new = replaced()
    (registered,) = registration.decide_register(new, BORIS, START, DAY)
    third = msgspec.structs.replace(new, email="third@example.org")
    restored, second_freed, third_freed = decisions.decide_restore([old, registered.address, third], "anna", START)
    assert getattr(restored, "address", None) == msgspec.structs.replace(OWN, changed_at=(START, START))
    assert isinstance(second_freed, EmailReleased)
    assert isinstance(third_freed, EmailReleased)
    assert [pending.user_id for pending in second_freed.address.pending] == ["boris"]
    assert (second_freed.email, second_freed.username, second_freed.language) == ("New@example.org", "anna", "ru")
    assert (third_freed.email, third_freed.address) == ("third@example.org", AddressState())


def test_a_token_undoes_its_own_change_and_no_later_one() -> None:
    old, _ = replaced()
    until = START + HELD
    assert decisions.may_undo(old, "anna", until, START)
    # It was undone, with this token or another.
    assert not decisions.may_undo(OWN, "anna", until, START)
    again, _ = replaced(OWN, START + DAY)
    for state, user, now in (
        (again, "anna", START + DAY),
        (old, "boris", START),
        (old, "anna", until),
        (OWN, "anna", until),
        (AddressState(), "anna", START),
    ):
        with pytest.raises(TokenExpired):
            decisions.may_undo(state, user, until, now)


def test_an_account_changes_its_address_a_few_times_in_a_week_and_then_has_to_wait() -> None:
    state, now = OWN, START
    for _ in range(MOST_CHANGES):
        decisions.check_changes_left(state, now)
        _, state = replaced(state, now)
        now += DAY
    with pytest.raises(RateLimited) as refused:
        decisions.check_changes_left(state, now)
    assert refused.value.retry_after == (START + HELD - now).total_seconds()
    decisions.check_changes_left(state, START + HELD)
    _, state = replaced(state, START + HELD)
    assert len(state.changed_at) == MOST_CHANGES


def test_a_return_to_an_earlier_address_is_a_change_and_forgets_none() -> None:
    state = OWN
    for _ in range(MOST_CHANGES // 2):
        decisions.check_changes_left(state, START)
        old, new = replaced(state)
        decisions.check_changes_left(new, START)
        restored, _ = decisions.decide_restore([old, new], "anna", START)
        state = getattr(restored, "address", AddressState())
    assert len(state.changed_at) == MOST_CHANGES - 1
    _, state = replaced(state)
    with pytest.raises(RateLimited):
        decisions.check_changes_left(state, START)
