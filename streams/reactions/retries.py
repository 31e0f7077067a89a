"""When an effect that failed is attempted again, and when its event is parked instead."""

import logging
from typing import ClassVar

import msgspec

from contracts.errors import VestnikError

# Doublings of the first pause after which it is longer than any limit.
_MOST_DOUBLINGS = 16
_SERVER_FAULT = 500


class RetryLater(Exception):
    """The effect is not possible now; it is attempted again later."""

    # Level of its log line.
    level: ClassVar[int] = logging.WARNING
    # False: the effect waits for its turn, such as a mailbox's next hour; its event is never parked.
    is_failure: ClassVar[bool] = True

    def __init__(self, message: str, *, after: float = 0.0) -> None:
        """`after`: seconds before which another attempt is useless."""
        super().__init__(message)
        self.after = after


class UnknownEvent(RetryLater):
    """This release cannot read the event; a later one may."""


class Retries(msgspec.Struct, frozen=True, kw_only=True):
    """How often a failed effect is attempted before its event is parked, and the pauses in between."""

    # Attempts after an error that another attempt hardly changes, such as one in the code: 9 minutes with these pauses.
    tries: int = 10
    # Attempts while the effect is not possible, such as during an outage of a mail server: a day with these pauses.
    tries_in_outage: int = 300
    # Seconds until the second attempt; doubled with each, up to the longest.
    first_pause: float = 1.0
    longest_pause: float = 300.0

    def pause(self, attempt: int, error: Exception) -> float:
        """Seconds between the attempt, counted from 1, and the next one."""
        pause: float = min(self.first_pause * 2.0 ** min(attempt - 1, _MOST_DOUBLINGS), self.longest_pause)
        return max(pause, error.after) if isinstance(error, RetryLater) else pause

    def are_used_up(self, attempt: int, error: Exception) -> bool:
        """Whether the event is parked after this attempt, counted from 1."""
        if isinstance(error, RetryLater) and not error.is_failure:
            return False
        return attempt >= (self.tries_in_outage if may_pass(error) else self.tries)


DEFAULT_RETRIES = Retries()


def may_pass(error: Exception) -> bool:
    """Whether the same attempt may succeed later without a change of the code."""
    if isinstance(error, VestnikError):
        return error.status >= _SERVER_FAULT or error.retry_after is not None
    return isinstance(error, RetryLater)
