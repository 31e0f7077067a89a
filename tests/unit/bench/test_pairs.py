"""Two trees measured in turns: compared by the rounds, not by their medians."""

from tests.bench.messenger import pairs
from tests.bench.messenger.driving import Outcome
from tests.bench.messenger.pairs import Round
from tests.bench.messenger.results import Result, Run


def run(**rates: float) -> Run:
    outcomes = [
        Outcome(
            scenario=scenario.replace("_", "-"),
            in_flight=1,
            requests=1,
            per_second=rate,
            p50=1.0,
            p99=2.0,
            p999=3.0,
            errors=0,
            cpu={"client": 1_000.0, "gateway": rate / 10},
        )
        for scenario, rate in rates.items()
    ]
    return Run(machine={}, size="short", pairs=1, replicas=1, results=[Result(scenario="any", outcomes=outcomes)])


def test_the_ratio_is_the_median_of_the_rounds_with_its_range() -> None:
    # The machine is twice as slow in the second round, and half again as quick in the third.
    rounds = [
        Round(run(send_1=110), run(send_1=100)),
        Round(run(send_1=50), run(send_1=50)),
        Round(run(send_1=180), run(send_1=150)),
    ]
    ratios = {ratio.figure: ratio for ratio in pairs.compare(rounds)}
    rate = ratios["a second"]
    assert (rate.scenario, rate.present, rate.other) == ("send-1", 110, 100)
    assert (rate.ratio, rate.lowest, rate.highest) == (1.1, 1.0, 1.2)
    assert (ratios["p50 ms"].ratio, ratios["servers' CPU µs"].present) == (1.0, 11.0)
    assert "1.100 (1.000 to 1.200)" in "\n".join(pairs.lines(list(ratios.values())))


def test_what_only_one_tree_has_is_not_compared() -> None:
    rounds = [Round(run(send_1=1, new=1), run(send_1=1, old=1))]
    assert {ratio.scenario for ratio in pairs.compare(rounds)} == {"send-1"}
    assert "delivery p99 ms" not in {ratio.figure for ratio in pairs.compare(rounds)}
