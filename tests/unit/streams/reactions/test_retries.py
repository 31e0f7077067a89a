"""When a failed effect is attempted again, and when its event is parked."""

import pytest

from contracts.errors import NotFound, RateLimited, Unavailable, VestnikError
from streams.reactions.retries import DEFAULT_RETRIES, Retries, RetryLater, UnknownEvent, may_pass


class Full(RetryLater):
    is_failure = False


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (ValueError(), False),
        (NotFound(), False),
        (Unavailable(), True),
        (RateLimited(retry_after=5), True),
        (RetryLater("the mail server is down"), True),
        (UnknownEvent("of a later release"), True),
    ],
)
def test_an_outage_is_distinguished_from_a_lasting_error(error: Exception, passes: bool) -> None:
    assert may_pass(error) is passes
    retries = Retries(tries=3, tries_in_outage=7)
    assert [retries.are_used_up(attempt, error) for attempt in (2, 3, 6, 7)] == [False, not passes, not passes, True]


def test_an_effect_that_waits_for_its_turn_is_attempted_without_end() -> None:
    assert not DEFAULT_RETRIES.are_used_up(10**9, Full("no room"))


def test_pauses_double_up_to_the_longest_and_are_no_shorter_than_the_effect_says() -> None:
    retries = Retries(first_pause=1.0, longest_pause=10.0)
    assert [retries.pause(attempt, ValueError()) for attempt in (1, 2, 3, 4, 5, 10**9)] == [1, 2, 4, 8, 10, 10]
    assert retries.pause(1, RetryLater("full", after=60.0)) == 60.0


def test_by_default_an_error_is_parked_within_minutes_and_an_outage_after_a_day() -> None:
    def seconds(tries: int) -> float:
        return sum(DEFAULT_RETRIES.pause(attempt, ValueError()) for attempt in range(1, tries))

    assert 300 < seconds(DEFAULT_RETRIES.tries) < 900
    assert 23 * 3600 < seconds(DEFAULT_RETRIES.tries_in_outage) < 26 * 3600


def test_an_error_without_a_class_of_its_own_may_pass() -> None:
    assert may_pass(VestnikError())
