"""The measured clock skew of callers."""

from infra.rpc.clock_skew import SKEW, ClockSkew


def test_the_newest_token_of_the_last_minutes_counts() -> None:
    now = 0.0
    skew = ClockSkew(monotonic=lambda: now)

    def measured() -> float:
        return float(SKEW.labels("contact")._value.get())

    SKEW.clear()
    skew.observe("contact", -200.0)
    # The skew of a caller whose clock seems to be behind is not known yet.
    assert measured() == 0.0
    skew.observe("contact", 7.0)
    skew.observe("contact", -100.0)
    assert measured() == 7.0
    now = 300.0
    skew.observe("contact", -1.0)
    assert measured() == 7.0
    now = 600.0
    skew.observe("contact", -2.0)
    assert measured() == -1.0


def test_a_caller_is_behind_if_all_tokens_of_some_minutes_say_so() -> None:
    now = 0.0
    skew = ClockSkew(monotonic=lambda: now)
    SKEW.clear()
    for now in (0.0, 100.0, 200.0, 299.0):
        skew.observe("contact", -40.0 - now % 240)
    assert not next(iter(SKEW.collect())).samples
    now = 301.0
    skew.observe("contact", -101.0)
    assert SKEW.labels("contact")._value.get() == -40.0
