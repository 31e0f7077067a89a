"""Limits on attempts of passwords and codes: only wrong ones count; an owner meets no limit and a guesser soon does.

An attempt is counted before it is made, since many may run concurrently, and refunded unless what it tried is wrong.
A wrong code of the second factor counts as a wrong password does, and against a lower limit for codes alone.
Attempts are counted by the folded login, whether the account exists or not; for a device that presents the token of an
earlier login, the limits of that token apply instead. Why: docs/decisions/0084.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from contracts.errors import InvalidCredentials, InvalidTotp, VestnikError
from contracts.values.field_types import folded_login
from services.gateway.limits import policies
from services.gateway.limits.rate_limiter import Limit, LimitState, RateLimiter


class Guess:
    """One attempt, counted against several limits together."""

    def __init__(
        self,
        limiter: RateLimiter | None,
        counted: tuple[Limit, ...],
        key: str,
        *,
        wrong: tuple[type[VestnikError], ...] = (InvalidCredentials, InvalidTotp),
    ) -> None:
        """`limiter`: None if limits are off. `wrong`: the errors after which the attempt stays counted."""
        self.wrong = wrong
        self._limiter = limiter
        self._counted = counted
        self._key = key
        self.limit_states: list[LimitState] = limiter.take_all(counted, key) if limiter is not None else []

    @property
    def allowed(self) -> bool:
        return all(state.allowed for state in self.limit_states)

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


def of_code(limiter: RateLimiter | None, key: str) -> Guess:
    """An attempt of a code of the second factor. `key`: the login, or the id of a logged-in user."""
    return Guess(limiter, policies.CODE_FAILURES, folded_login(key.strip()), wrong=(InvalidTotp,))


@contextmanager
def judged(*guesses: Guess) -> Iterator[None]:
    """Runs the attempt; refunds the guesses if it succeeds or fails for another reason than a wrong guess."""
    try:
        yield
    except VestnikError as error:
        for guess in guesses:
            if not isinstance(error, guess.wrong):
                guess.forgive()
        raise
    for guess in guesses:
        guess.forgive()
