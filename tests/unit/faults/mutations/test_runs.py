"""Runs of mutations, without a system: each has its result as soon as it has ended."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest

from infra.operator_errors import OperatorError
from tests.faults import result
from tests.faults.checker.finding import Finding
from tests.faults.mutations import runs, single_machine
from tests.faults.mutations.single_machine import Scenario
from tests.faults.result import Caught, Conditions, Mutations

# Of one scenario.
FIRST, SECOND = "look-up-skipped", "message-ids-dropped"


class Systems:
    """Stands in for systems: returns the given outcomes by the name of the run."""

    def __init__(self, outcomes: Mapping[str, str]) -> None:
        self.begun: Counter[str] = Counter()
        self.found = dict(outcomes)
        # The run that the process is ended in.
        self.ends_in = ""

    async def run(self, scenario: Scenario, folder: Path, root: Path) -> list[Finding]:
        self.begun[folder.name] += 1
        if folder.name == self.ends_in:
            raise KeyboardInterrupt
        return [Finding(self.found[folder.name], "found")] if folder.name in self.found else []


@pytest.fixture
def systems(monkeypatch: pytest.MonkeyPatch) -> Systems:
    systems = Systems(dict.fromkeys((FIRST, SECOND), "messages.doubled"))
    monkeypatch.setattr(single_machine, "run", systems.run)
    monkeypatch.setattr(runs, "mutated", lambda root, mutation: _Tree())
    return systems


class _Tree:
    def __enter__(self) -> Path:
        return Path()

    def __exit__(self, *error: object) -> None:
        pass


def load(folder: Path) -> Mutations:
    (mutations,) = result.load([folder / result.FILE])
    assert isinstance(mutations, Mutations)
    return mutations


async def test_a_run_that_was_interrupted_has_its_results_and_goes_on_with_the_others(
    systems: Systems, tmp_path: Path
) -> None:
    systems.ends_in = SECOND
    with pytest.raises(KeyboardInterrupt):
        await runs.run([FIRST, SECOND], tmp_path)
    assert [one.name for one in load(tmp_path).mutations] == [FIRST]
    systems.ends_in = ""
    assert await runs.run([FIRST, SECOND], tmp_path) == 0
    assert [(one.name, one.is_caught) for one in load(tmp_path).mutations] == [(FIRST, True), (SECOND, True)]
    assert systems.begun == {f"without-{FIRST}": 1, FIRST: 1, SECOND: 2}


async def test_a_scenario_is_run_once_without_mutations_whichever_comes_first(systems: Systems, tmp_path: Path) -> None:
    assert await runs.run([SECOND], tmp_path) == 0
    assert await runs.run([FIRST], tmp_path) == 0
    assert systems.begun == {f"without-{FIRST}": 1, FIRST: 1, SECOND: 1}


async def test_failures_of_earlier_runs_count(systems: Systems, tmp_path: Path) -> None:
    del systems.found[FIRST]
    systems.found[f"without-{FIRST}"] = "messages.lost"
    for _ in range(2):
        assert await runs.run([FIRST, SECOND], tmp_path) == 1
    assert systems.begun.total() == 3


async def test_results_of_another_tree_do_not_count(systems: Systems, tmp_path: Path) -> None:
    other = Caught(name=FIRST, fault="none", tree="another", is_caught=False, checks=[], seconds=1.0)
    result.write(Mutations(mutations=[other]), tmp_path)
    assert await runs.run([FIRST], tmp_path) == 0
    assert systems.begun == {f"without-{FIRST}": 1, FIRST: 1}


async def test_the_folder_of_a_run_of_another_kind_is_refused(systems: Systems, tmp_path: Path) -> None:
    result.write(result.judged(tmp_path, Conditions(seed=1, conversations=1, rate=1.0), None), tmp_path)
    with pytest.raises(OperatorError, match="another kind"):
        await runs.run([FIRST], tmp_path)
    assert not systems.begun
