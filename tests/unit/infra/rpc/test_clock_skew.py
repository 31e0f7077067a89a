"""What is known of the clocks of callers."""

from infra.rpc.clock_skew import SKEW, ClockSkew


def test_the_newest_token_of_the_last_minutes_counts() -> None:
    now = 0.0
    skew = ClockSkew(monotonic=lambda: now)

    def shown() -> float:
        return float(SKEW.labels("contact")._value.get())

    skew.observe("contact", -200.0)
    assert shown() == -200.0
    skew.observe("contact", 7.0)
    skew.observe("contact", -100.0)
    assert shown() == 7.0
    now = 300.0
    skew.observe("contact", -1.0)
    assert shown() == 7.0
    now = 600.0
    skew.observe("contact", -2.0)
    assert shown() == -1.0
