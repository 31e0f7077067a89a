"""The tables of the report."""

from pathlib import Path

import pytest

from tests.faults import report, result
from tests.faults.recovery import Recovery, Tally
from tests.faults.result import Caught, Conditions, Mutations, Run, Unmutated
from tests.faults.runs import summary


def step(*faults: str, seconds: float, acknowledged: int = 10) -> Recovery:
    return Recovery(
        faults=faults,
        targets=("nats-1",),
        step=1,
        begun=1.0,
        ended=61.0,
        seconds=seconds,
        acknowledged=acknowledged,
        found=Tally(wrong=2),
    )


def run(*steps: Recovery, seed: int, findings: list[str] | None = None, failure: str = "") -> Run:
    return Run(
        conditions=Conditions(seed=seed, conversations=3, rate=40.0),
        seconds=60.0,
        acknowledged=1_000,
        requests={},
        live_events=4_000,
        steps=list(steps),
        found=Tally(),
        findings=findings or [],
        failure=failure,
        checked_in=1.0,
        checker_mebibytes=1.0,
    )


def test_a_fault_that_came_alone_has_a_row_with_its_median_and_worst_wait() -> None:
    steps = [step("cut", seconds=seconds, acknowledged=1000) for seconds in (3.0, 1.0, 2.0)]
    faults = summary.by_fault([*steps, step("cut", "kill", seconds=9.0)])
    rows = [row for row in report.alone(faults) if "cut both ways" in row]
    assert rows == ["| links of a host cut both ways | 3 | 3,000 | 0 | 0 | 6 | 2.0 s | 3.0 s |"]


def test_a_pair_has_a_row_after_that_of_all_pairs() -> None:
    steps = [step("cut", "kill", seconds=1.0), step("cut", "freeze", seconds=2.0), step("kill", seconds=4.0)]
    assert list(report.pairs(summary.by_fault(steps)))[2:] == [
        "| all | 2 | 20 | 0 | 0 | 4 | 1.0 s | 2.0 s |",
        "| `cut` and `freeze` | 1 | 10 | 0 | 0 | 2 | 2.0 s | 2.0 s |",
        "| `cut` and `kill` | 1 | 10 | 0 | 0 | 2 | 1.0 s | 1.0 s |",
    ]


def test_the_page_gets_the_sums_of_all_runs_that_are_kept_and_keeps_its_text(tmp_path: Path) -> None:
    caught = Caught(name="look-up-skipped", fault="none", is_caught=True, checks=["messages.doubled"], seconds=41.0)
    results: tuple[result.Result, ...] = (
        run(step("cut", seconds=1.0), seed=7),
        run(step("cut", seconds=3.0), seed=8, findings=["messages.lost: one"], failure="not whole"),
        Mutations(mutations=[caught], unmutated=[Unmutated(name="look-up-skipped", is_sound=False)]),
    )
    page = tmp_path / "faults.md"
    page.write_text(report.PAGE.read_text())
    for one in results:
        summary.keep([one], tmp_path)
        report.write(page, tmp_path)
    text = page.read_text()
    assert text.startswith(report.PAGE.read_text().partition("<!--")[0])
    assert "2,000 messages were acknowledged over all runs, and 8,000 live events delivered." in text
    assert "1,000 of these messages are of runs that were not ended: nobody has read them at the end.\n" in text
    assert "| links of a host cut both ways | 2 | 20 | 0 | 0 | 4 | 1.0 s | 3.0 s |" in text
    assert "| `look-up-skipped` | none | `messages.doubled` | 41 s |" in text
    assert text.count("- Seed 8: messages.lost: one\n- Seed 8 was not ended: not whole\n") == 1
    assert "- Without a mutation: the scenario of look-up-skipped found something.\n" in text


def test_the_page_is_that_of_the_runs_that_are_kept(tmp_path: Path) -> None:
    page = tmp_path / "faults.md"
    page.write_text(report.PAGE.read_text())
    report.write(page)
    assert page.read_text() == report.PAGE.read_text()


def test_a_page_without_a_place_for_a_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "faults.md").write_text("# Faults\n")
    with pytest.raises(ValueError, match="no place for the table 'runs'"):
        report.write(tmp_path / "faults.md")
