"""Runs of the bench: shown, compared and drawn, the same for the same figures."""

from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.bench.messenger import plots, results
from tests.bench.messenger.driving import Outcome, outcome
from tests.bench.messenger.results import Result, Run

pytestmark = pytest.mark.filterwarnings("error")


def run(size: str = "short", *results: Result) -> Run:
    return Run(machine={"cores": "2"}, size=size, pairs=1, replicas=1, results=list(results))


def measured(scenario: str, rate: int, **cpu: float) -> Outcome:
    return outcome(scenario, 64, [float(number % 50 + 1) for number in range(rate)], 1.0, cpu, 0)


def test_a_load_is_summed_up_with_processor_time_a_request() -> None:
    load = measured("read", 100, gateway=0.05, client=0.01, idle=0.0)
    assert (load.requests, load.per_second, load.p50, load.p99) == (100, 100.0, 26.0, 50.0)
    assert load.cpu == {"client": 100.0, "gateway": 500.0}
    assert load.client_share == pytest.approx(1 / 6)


def test_an_outcome_without_measurements_is_zero() -> None:
    load = outcome("read", 1, [], 1.0, {}, 3)
    assert (load.requests, load.p999, load.errors, load.client_share) == (0, 0.0, 3, 0.0)


@pytest.mark.parametrize(("rate", "word"), [(100, "as before"), (150, "better"), (50, "WORSE")])
def test_a_figure_is_compared_with_the_run_before(rate: int, word: str) -> None:
    assert word in results.compared(measured("read", rate), measured("read", 100))
    assert results.compared(measured("read", rate), None) == ""


def test_a_difference_is_reported_on_the_last_line() -> None:
    lines = results.lines(Result(scenario="read", equal=False, differences="row 7"), {})
    assert "DIFFER: row 7" in lines[-1]
    assert results.lines(Result(scenario="day", skipped="for want of a history"), {}) == [
        "day: left out, for want of a history"
    ]


def test_a_kept_run_keeps_scenarios_that_the_next_run_leaves_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "KEPT", tmp_path / "kept")
    assert results.before("short") is None
    results.keep(run("short", Result(scenario="read", outcomes=[measured("read", 10)])))
    results.keep(run("short", Result(scenario="list", outcomes=[measured("list", 20)])))
    results.keep(run("official", Result(scenario="list", outcomes=[measured("list", 99)])))
    previous = results.before("short")
    assert previous is not None
    assert {name: load.requests for name, load in previous.outcomes().items()} == {"read": 10, "list": 20}


def test_plots_are_well_formed_and_the_same_for_the_same_run(tmp_path: Path) -> None:
    result = Result(
        scenario="read",
        outcomes=[measured("read", 3_500, gateway=0.4, client=0.1), measured("a <b> & c", 20, nats=0.2)],
    )
    first, second = (plots.write(run("short", result), tmp_path / name) for name in ("one", "two"))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    drawn = {path.name: ElementTree.fromstring(path.read_text()) for path in first}
    throughput = "".join(drawn["messenger-throughput.svg"].itertext())
    assert "3,500/s" in throughput
    assert "ejabberd" in throughput
    assert "a <b> & c" in throughput
    width = float(drawn["messenger-cpu.svg"].get("viewBox", "").split()[2])
    for drawing in drawn.values():
        for bar in drawing.iter("{http://www.w3.org/2000/svg}rect"):
            assert float(bar.get("x", "0")) + float(bar.get("width", "0")) <= width


def test_a_run_without_outcomes_can_be_drawn(tmp_path: Path) -> None:
    assert len(plots.write(run(), tmp_path)) == 3


def test_the_table_for_the_page_has_a_row_for_each_load() -> None:
    page = results.markdown(
        run(
            "short",
            Result(scenario="read", outcomes=[measured("read", 10, client=0.1)]),
            Result(scenario="day", skipped="x"),
        )
    )
    rows = page.splitlines()
    assert len(rows) == 4
    assert {row.count("|") for row in rows} == {10}
