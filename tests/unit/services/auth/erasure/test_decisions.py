"""When an account is erased, what cancels it, and what is kept of its claims."""

from datetime import UTC, datetime, timedelta

import pytest

from contracts.errors import InvalidCredentials, UserNotFound
from contracts.events.event import Event
from contracts.events.user import (
    AddressState,
    EmailReleased,
    PendingRegistration,
    UserCreated,
    UserEmailVerified,
    UserErased,
    UserErasureCancelled,
    UserErasureCompleted,
    UserErasureRequested,
    UsernameClaimed,
)
from services.auth.domain import User, decide_cancel_erasure, evolve_user
from services.auth.erasure.decisions import (
    ErasureTerms,
    decide_complete,
    decide_erase,
    decide_release_address,
    decide_request,
    decide_reserve_name,
)
from services.auth.registration.decisions import Username

AT = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
TICK = timedelta(milliseconds=1)
TERMS = ErasureTerms(grace=14 * DAY, name_reuse=30 * DAY)
DUE = AT + 14 * DAY


def user(*events: Event) -> User:
    state = User()
    for event in (UserCreated(username="anna"), UserEmailVerified(), *events):
        state = evolve_user(state, event, AT)
    return state


REQUESTED = user(UserErasureRequested(erase_at=DUE))
ERASED = user(UserErasureRequested(erase_at=DUE), UserErased(reason="requested"))


def test_a_request_is_due_after_the_grace_and_is_made_once() -> None:
    assert decide_request(user(), AT, TERMS) == (UserErasureRequested(erase_at=DUE),)
    assert decide_request(REQUESTED, AT + DAY, TERMS) == ()
    assert decide_request(user(UserErasureRequested(erase_at=DUE), UserErasureCancelled()), AT + DAY, TERMS) == (
        UserErasureRequested(erase_at=DUE + DAY),
    )


@pytest.mark.parametrize("state", [User(), ERASED])
def test_an_account_that_does_not_exist_cannot_request_it(state: User) -> None:
    with pytest.raises(InvalidCredentials):
        decide_request(state, AT, TERMS)


def test_a_login_cancels_it_before_the_time_is_over_and_not_at_that_moment() -> None:
    assert decide_cancel_erasure(user(), AT) == ()
    assert decide_cancel_erasure(REQUESTED, DUE - TICK) == (UserErasureCancelled(),)
    for state, now in ((REQUESTED, DUE), (ERASED, AT)):
        with pytest.raises(InvalidCredentials):
            decide_cancel_erasure(state, now)


def test_a_requested_erasure_happens_when_it_is_due_once() -> None:
    assert decide_erase(REQUESTED, "requested", DUE - TICK) == ()
    assert decide_erase(user(UserErasureRequested(erase_at=DUE), UserErasureCancelled()), "requested", DUE) == ()
    assert decide_erase(REQUESTED, "requested", DUE) == (UserErased(reason="requested"),)
    assert decide_erase(ERASED, "requested", DUE) == decide_erase(ERASED, "operator", DUE) == ()


@pytest.mark.parametrize("state", [user(), REQUESTED])
def test_an_operator_erases_at_once(state: User) -> None:
    assert decide_erase(state, "operator", AT) == (UserErased(reason="operator"),)


def test_no_one_is_erased_who_does_not_exist() -> None:
    with pytest.raises(UserNotFound):
        decide_erase(User(), "operator", AT)


def test_an_erasure_leaves_nothing_of_the_user_and_is_completed_once() -> None:
    assert User(erased=True) == ERASED
    assert decide_complete(ERASED) == (UserErasureCompleted(),)
    assert decide_complete(evolve_user(ERASED, UserErasureCompleted(), AT)) == ()
    assert decide_complete(REQUESTED) == ()


def test_an_account_counts_as_gone_from_the_moment_at_which_it_is_due() -> None:
    assert [REQUESTED.is_gone(DUE - TICK), REQUESTED.is_gone(DUE), ERASED.is_gone(AT), user().is_gone(DUE)] == [
        False,
        True,
        True,
        False,
    ]


def test_the_name_is_kept_from_others_for_some_time() -> None:
    confirmed = Username(holder="anna", confirmed=True)
    assert decide_reserve_name(confirmed, "anna", DUE) == (UsernameClaimed(user_id="anna", expires_at=DUE),)
    assert decide_reserve_name(Username(holder="boris"), "anna", DUE) == ()


def test_an_address_is_kept_from_others_for_some_time_and_the_requests_of_others_on_it_stay() -> None:
    def pending(user_id: str, expires_at: datetime) -> PendingRegistration:
        return PendingRegistration(user_id=user_id, email="a@example.org", username="name", expires_at=expires_at)

    own, other, expired = pending("anna", DUE), pending("boris", DUE), pending("carl", AT)
    address = AddressState(owner="anna", email="a@example.org", username="anna", pending=(own, other, expired))
    free_at = AT + 30 * DAY
    assert decide_release_address(address, "anna", free_at, AT) == (
        EmailReleased(user_id="anna", address=AddressState(owner="anna", owner_until=free_at, pending=(other,))),
    )
    assert decide_release_address(address, "boris", free_at, AT) == ()
