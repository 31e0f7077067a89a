"""The summary that is kept of runs."""

from pathlib import Path

from tests.faults.recovery import Recovery, Tally
from tests.faults.result import Caught, Mutations, Unmutated
from tests.faults.runs import summary


def step(*faults: str, seconds: float) -> Recovery:
    tally = Tally(lost=1, doubled=2, wrong=3)
    return Recovery(
        faults=faults, targets=(), step=1, begun=0.0, ended=1.0, seconds=seconds, acknowledged=10, found=tally
    )


def caught(name: str, *, is_caught: bool = True, tree: str = "one") -> Caught:
    return Caught(name=name, fault="none", tree=tree, is_caught=is_caught, checks=[], seconds=1.0)


def test_the_steps_with_the_same_faults_are_summed_and_keep_each_recovery() -> None:
    summed = summary.by_fault([step("kill", seconds=2.04), step("cut", "kill", seconds=9.0), step("kill", seconds=1.0)])
    assert [(one.faults, one.recovery) for one in summed] == [(("cut", "kill"), [9.0]), (("kill",), [2.0, 1.0])]
    assert [(one.acknowledged, one.lost, one.doubled, one.wrong) for one in summed] == [(10, 1, 2, 3), (20, 2, 4, 6)]


def test_a_result_of_mutations_replaces_those_of_the_same_names(tmp_path: Path) -> None:
    first = Mutations(
        mutations=[caught("files-kept-open"), caught("look-up-skipped", is_caught=False), caught("gone")],
        unmutated=[Unmutated(name="look-up-skipped", is_sound=False)],
    )
    second = Mutations(
        mutations=[caught("look-up-skipped", tree="other")],
        unmutated=[Unmutated(name="look-up-skipped", is_sound=True)],
    )
    summary.keep([first, second], tmp_path)
    kept_mutations = summary.kept_mutations(tmp_path)
    # In the order of the catalogue, which has no mutation `gone`.
    assert kept_mutations.mutations == [caught("look-up-skipped", tree="other"), caught("files-kept-open")]
    assert kept_mutations.unmutated == second.unmutated
    assert summary.kept_runs(tmp_path) == []
