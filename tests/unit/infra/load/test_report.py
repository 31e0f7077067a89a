from collections import Counter

from infra.load.errors import Refused
from infra.load.report import Tally, describe


def test_percentiles_are_those_of_the_nearest_rank() -> None:
    tally = Tally()
    for milliseconds in range(100, 0, -1):
        tally.took(milliseconds / 1000)
    report = tally.report(in_flight=1, retries=Counter(), stopped=False)
    assert (report.p50_ms, report.p99_ms) == (50.0, 99.0)


def test_an_empty_run_has_a_report_too() -> None:
    report = Tally().report(in_flight=1, retries=Counter(), stopped=True)
    assert (report.rate, report.p50_ms, report.errors) == (0.0, 0.0, 0)
    assert "messages" in describe(report)


def test_errors_are_counted_by_kind_and_the_first_are_kept_whole() -> None:
    tally = Tally()
    for line in range(10):
        tally.failed(f"line {line}", Refused(403, "not_friends", "Only friends can write to each other."))
    report = tally.report(in_flight=1, retries=Counter({"503 overloaded": 2}), stopped=False)
    assert report.errors == 10
    assert report.error_kinds == {"403 not_friends": 10}
    assert len(tally.examples) == 5
    assert "10 x 403 not_friends" in describe(report)
    assert "2 x 503 overloaded" in describe(report)
