"""Limits on password attempts: only wrong passwords count, so that an owner meets no limit and a guesser soon does.

An attempt is counted before it is made, since many may run concurrently, and refunded unless the password is wrong.
Attempts are counted by the folded login, whether the account exists or not; for a device that presents the token of an
earlier login, the limits of that token apply instead. Why: docs/decisions/0084.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from contracts.errors import InvalidCredentials, VestnikError
from contracts.values.field_types import folded_login
from services.gateway.limits import policies
from services.gateway.limits.rate_limiter import Limit, LimitState, RateLimiter


class Guess:
    """One password attempt, counted against several limits together."""

    def __init__(self, limiter: RateLimiter | None, counted: tuple[Limit, ...], key: str) -> None:
        """`limiter`: None if limits are off."""
        self._limiter = limiter
        self._counted = counted
        self._key = key
        self.standings: list[LimitState] = limiter.take_all(counted, key) if limiter is not None else []

    @property
    def allowed(self) -> bool:
        return all(standing.allowed for standing in self.standings)

    def forgive(self) -> None:
        """Refunds the attempt if it was counted."""
        if self._limiter is not None and self.allowed:
            self._limiter.give_back(self._counted, self._key)


def of_login(limiter: RateLimiter | None, login: str) -> Guess:
    """An attempt for a login; spellings that fold to the same login share one count."""
    return Guess(limiter, policies.LOGIN_FAILURES, folded_login(login.strip()))


def of_device(limiter: RateLimiter | None, token: str) -> Guess:
    return Guess(limiter, policies.DEVICE_FAILURES, token)


def of_user(limiter: RateLimiter | None, user_id: str) -> Guess:
    """An attempt of a logged-in user who has to confirm the password."""
    return Guess(limiter, policies.PASSWORD_FAILURES, user_id)


@contextmanager
def judged(*guesses: Guess) -> Iterator[None]:
    """Runs the attempt; refunds the guesses if it succeeds or fails for a reason other than the password."""
    try:
        yield
    except InvalidCredentials:
        raise
    except VestnikError:
        _forgive(guesses)
        raise
    _forgive(guesses)


def _forgive(guesses: tuple[Guess, ...]) -> None:
    for guess in guesses:
        guess.forgive()
