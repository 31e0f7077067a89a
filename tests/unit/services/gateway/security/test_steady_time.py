"""The time that lifetimes of tokens are measured with."""

from services.gateway.security.steady_time import SteadyTime


def test_the_time_does_not_go_back_with_the_clock_and_does_not_stay_ahead_after_it() -> None:
    wall, passed = 1_000.0, 0.0
    steady = SteadyTime(clock=lambda: wall, monotonic=lambda: passed)
    assert (steady.now(), steady.ahead) == (1_000.0, 0.0)
    wall, passed = 710.0, 10.0
    assert (steady.now(), steady.ahead) == (1_010.0, 300.0)
    wall, passed = 4_620.0, 20.0
    assert (steady.now(), steady.ahead) == (4_620.0, 0.0)
    wall, passed = 1_030.0, 30.0
    assert (steady.now(), steady.ahead) == (1_030.0, 0.0)
