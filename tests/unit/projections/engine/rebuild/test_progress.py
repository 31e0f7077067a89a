"""Progress, rate and remaining time of a rebuild."""

import pytest

from projections.engine.rebuild import progress
from projections.engine.rebuild.progress import Progress, RateEstimator


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def test_the_time_left_follows_from_the_rate(clock: Clock) -> None:
    pace = RateEstimator()
    clock.now += 2
    assert pace.at(500, 1_500) == Progress(500, 1_500, 250.0, 4.0)


def test_the_rate_is_that_of_the_last_seconds(clock: Clock) -> None:
    pace = RateEstimator()
    events = 0
    for rate in [1_000] * 60 + [100] * 11:
        clock.now += 1
        events += rate
        reached = pace.at(events, 100_000)
    assert reached.events_per_second == 100


def test_events_read_before_an_interruption_count_as_progress_and_not_in_the_rate(clock: Clock) -> None:
    pace = RateEstimator(1_000_000)
    clock.now += 1
    assert pace.at(1_000_100, 1_000_300) == Progress(1_000_100, 1_000_300, 100.0, 2.0)


def test_no_time_is_shown_before_there_is_a_rate(clock: Clock) -> None:
    assert RateEstimator().at(0, 10) == Progress(0, 10, 0.0, None)


def test_without_remaining_events_the_remaining_time_is_zero(clock: Clock) -> None:
    assert RateEstimator(7).at(7, 7).seconds_left == 0.0
