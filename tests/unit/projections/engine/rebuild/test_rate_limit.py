"""The limit of a rebuild's rate, without a clock."""

from projections.engine.rebuild.rate_limit import RateLimit


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_rate_limit_waits_for_the_events_of_a_batch() -> None:
    clock = Clock()
    limit = RateLimit(200, clock)
    assert limit.seconds_left == 0
    limit.spend(100)
    assert limit.seconds_left == 0.5
    clock.now += 0.25
    assert limit.seconds_left == 0.25
    limit.spend(1_000)
    assert limit.seconds_left == 5.25


def test_the_time_that_a_batch_took_counts_but_a_long_pause_only_for_a_second() -> None:
    clock = Clock()
    limit = RateLimit(200, clock)
    clock.now += 0.5
    limit.spend(200)
    assert limit.seconds_left == 0.5
    clock.now += 1_000
    limit.spend(200)
    assert limit.seconds_left == 0
    limit.spend(200)
    assert limit.seconds_left == 1
