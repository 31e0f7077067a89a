"""How attempts at a password are counted."""

from collections.abc import Callable

import pytest

from contracts.errors import EmailNotVerified, InvalidCredentials, Overloaded, VestnikError
from services.gateway.limits import password_attempts, policies
from services.gateway.limits.password_attempts import Guess
from services.gateway.limits.rate_limiter import RateLimiter

SECRET = b"s" * 32


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def limiter(clock: Clock) -> RateLimiter:
    return RateLimiter(SECRET, clock=clock)


def attempt(guess: Guess, outcome: VestnikError | None) -> bool:
    """Whether the try was made."""
    if not guess.allowed:
        return False
    try:
        with password_attempts.judged(guess):
            if outcome is not None:
                raise outcome
    except VestnikError:
        pass
    return True


def guesser(limiter: RateLimiter, login: str = "anna") -> Callable[[], bool]:
    return lambda: attempt(password_attempts.of_login(limiter, login), InvalidCredentials())


def test_every_outcome_but_a_wrong_password_is_forgiven(limiter: RateLimiter) -> None:
    for _ in range(200):
        assert attempt(password_attempts.of_login(limiter, "anna"), None)
        assert attempt(password_attempts.of_login(limiter, "anna"), EmailNotVerified())
        assert attempt(password_attempts.of_login(limiter, "anna"), Overloaded())
    assert limiter.drain_local_counts() == {}


def test_ten_wrong_ones_pass_then_each_waits_longer(limiter: RateLimiter, clock: Clock) -> None:
    guess = guesser(limiter)
    waits = []
    for _ in range(140):
        before = clock.now
        while not guess():
            clock.now += 1.0
        waits.append(clock.now - before)
    assert waits[:10] == [0.0] * 10
    assert max(waits[10:20]) <= 11.0
    assert 100.0 <= waits[40] <= 121.0
    assert 400.0 <= waits[139] <= 433.0


def test_no_hour_has_more_than_a_hundred_wrong_ones_of_an_account_with_two_logins(
    limiter: RateLimiter, clock: Clock
) -> None:
    guesses = guesser(limiter), guesser(limiter, "anna@example.org")
    attempted_at: list[float] = []
    for _ in range(3 * 720):
        for guess in guesses:
            while guess():
                attempted_at.append(clock.now)
        clock.now += 5.0
    assert attempted_at
    for first in attempted_at:
        assert sum(first <= at < first + 3_600.0 for at in attempted_at) <= 100


def test_tries_at_the_same_time_are_counted_before_they_are_judged(limiter: RateLimiter) -> None:
    under_way = [password_attempts.of_login(limiter, "anna") for _ in range(11)]
    assert [guess.allowed for guess in under_way] == [True] * 10 + [False]
    # Forgiving a refused attempt restores nothing.
    under_way[-1].forgive()
    assert not password_attempts.of_login(limiter, "anna").allowed


@pytest.mark.parametrize(
    "spelling", ["ALICE@SITE.ORG", "alice@\u017fite.org", "Alice@\u017fITE.org", " alice@site.org "]
)
def test_all_spellings_of_a_login_count_as_one(limiter: RateLimiter, spelling: str) -> None:
    while guesser(limiter, "alice@site.org")():
        pass
    assert not password_attempts.of_login(limiter, spelling).allowed


def test_devices_and_logged_in_users_have_counts_of_their_own(limiter: RateLimiter) -> None:
    while guesser(limiter)():
        pass
    assert password_attempts.of_device(limiter, "token").allowed
    assert password_attempts.of_user(limiter, "anna").allowed


def test_another_gateway_receives_the_counts_of_wrong_passwords_and_of_forgiven_attempts(
    limiter: RateLimiter, clock: Clock
) -> None:
    other = RateLimiter(SECRET, clock=clock)

    def publish_counts() -> None:
        for name, uses in limiter.drain_local_counts().items():
            (limit,) = [limit for limit in policies.ALL if limit.name == name]
            other.merge_remote(limit, uses)

    under_way = [password_attempts.of_login(limiter, "anna") for _ in range(10)]
    publish_counts()
    assert not password_attempts.of_login(other, "anna").allowed
    for guess in under_way:
        guess.forgive()
    publish_counts()
    assert [password_attempts.of_login(other, "anna").allowed for _ in range(11)] == [True] * 10 + [False]


def test_without_limits_nothing_is_counted() -> None:
    assert all(attempt(password_attempts.of_login(None, "anna"), InvalidCredentials()) for _ in range(50))
