"""Which failed attempts are only the first step of a login that followed."""

import pytest

from contracts.rpc.vestnik.auth.v1 import FailedLogin
from contracts.rpc.vestnik.session.v1 import PastSession
from services.gateway.routes.accounts.session_history import is_first_step

AT, TEN_MINUTES = 1_796_000_000_000, 600_000


def attempt(reason: str = "code_required", count: int = 1, address: str = "192.0.2.1") -> FailedLogin:
    return FailedLogin(at=AT, since=AT, reason=reason, device="a page", address=address, count=count)


def login(after: int, *, device: str = "a page", address: str = "192.0.2.1") -> PastSession:
    return PastSession(session_id="1", device=device, address=address, created_at=AT + after)


@pytest.mark.parametrize("after", [-5_000, 0, 20_000, TEN_MINUTES])
def test_a_password_before_its_code_is_no_failed_attempt(after: int) -> None:
    assert is_first_step(attempt(), [login(-50_000), login(after)])


@pytest.mark.parametrize(
    "later",
    [
        login(-5_001),
        login(TEN_MINUTES + 1),
        login(20_000, device="another page"),
        login(20_000, address="198.51.100.7"),
    ],
)
def test_a_password_that_no_login_from_there_followed_is_one(later: PastSession) -> None:
    assert not is_first_step(attempt(), [later])
    assert not is_first_step(attempt(), [])


@pytest.mark.parametrize("failure", [attempt("wrong_code"), attempt("wrong_password"), attempt(count=3)])
def test_every_other_failure_is_shown(failure: FailedLogin) -> None:
    assert not is_first_step(failure, [login(20_000)])


def test_where_no_address_is_recorded_nothing_is_left_out() -> None:
    assert not is_first_step(attempt(address=""), [login(20_000, address="")])
