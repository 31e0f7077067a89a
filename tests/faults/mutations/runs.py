"""Runs mutations: each must be caught, and the tree without them must pass the same scenarios."""

import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from infra.operator_errors import OperatorError
from tests.faults import result
from tests.faults.checker.finding import Finding
from tests.faults.mutations import single_machine
from tests.faults.mutations.catalogue import BY_NAME, MUTATIONS
from tests.faults.mutations.mutation import Mutation, mutated
from tests.faults.mutations.single_machine import Scenario
from tests.faults.result import Caught, Mutations, Unmutated
from tests.fix_system import ROOT

_SHOWN = 5


async def run(names: Sequence[str], folder: Path | None = None) -> int:
    """Runs the mutations of these names, or all, and prints what was found; returns the exit code.

    `folder`: keeps the result, and the logs and histories of the runs; without it they are removed. What its result
    already says about this tree is not run again.
    """
    mutations = [BY_NAME[name] for name in names] or list(MUTATIONS)
    with tempfile.TemporaryDirectory(prefix="mutations-", ignore_cleanup_errors=True) as temporary:
        runs = Runs(folder or Path(temporary))
        for mutation in mutations:
            await runs.passes(mutation.scenario.part_of or mutation.scenario)
            await runs.catches(mutation)
        failed = runs.failures(mutations)
    _say(f"{len(mutations)} mutations, {failed} failures")
    if folder is not None:
        _say(f"the result is {folder / result.FILE}")
    return 1 if failed else 0


class Runs:
    """Runs with a result that is written after each of them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        path = folder / result.FILE
        (kept,) = result.load([path]) if path.exists() else (Mutations(),)
        if not isinstance(kept, Mutations):
            raise OperatorError(f"{path} is the result of another kind of run")
        tree = result.tree()
        self._caught = {one.name: one for one in kept.mutations if one.tree == tree}
        self._unmutated = {one.name: one for one in kept.unmutated if one.tree == tree}

    async def passes(self, scenario: Scenario) -> None:
        """Runs the tree without a mutation; the run must report no finding."""
        name = _first(scenario)
        if name in self._unmutated:
            return
        findings, seconds = await self._run(scenario, f"without-{name}", ROOT)
        self._unmutated[name] = Unmutated(name=name, is_sound=not findings)
        _say(f"{seconds:6.1f} s  without {name}: {'sound' if not findings else 'NOT SOUND'}", findings)
        self._write()

    async def catches(self, mutation: Mutation) -> None:
        """Runs the tree with the mutation; the run must report a finding."""
        if mutation.name in self._caught:
            _say(f"          {mutation.name}: has a result")
            return
        with mutated(ROOT, mutation) as tree:
            findings, seconds = await self._run(mutation.scenario, mutation.name, tree)
        checks = sorted({finding.check for finding in findings})
        is_caught = bool(set(checks) & set(mutation.caught_by))
        verdict = (
            f"caught by {', '.join(checks)}" if is_caught else f"NOT CAUGHT (found {', '.join(checks) or 'nothing'})"
        )
        _say(f"{seconds:6.1f} s  {mutation.name}: {verdict}", findings)
        self._caught[mutation.name] = Caught(
            name=mutation.name, fault=mutation.fault, is_caught=is_caught, checks=checks, seconds=seconds
        )
        self._write()

    def failures(self, mutations: Sequence[Mutation]) -> int:
        """Number of mutations that were not caught, and of scenarios with findings in the tree without a mutation."""
        scenarios = {_first(mutation.scenario.part_of or mutation.scenario) for mutation in mutations}
        unsound = sum(not self._unmutated[name].is_sound for name in scenarios)
        return unsound + sum(not self._caught[mutation.name].is_caught for mutation in mutations)

    def _write(self) -> None:
        done = Mutations(mutations=list(self._caught.values()), unmutated=list(self._unmutated.values()))
        result.write(done, self._folder)

    async def _run(self, scenario: Scenario, name: str, root: Path) -> tuple[list[Finding], float]:
        folder = self._folder / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        begun = time.monotonic()
        findings = await single_machine.run(scenario, folder, root)
        return findings, time.monotonic() - begun


def _first(scenario: Scenario) -> str:
    """The name of the first mutation of a scenario, or of its parts."""
    return next(one.name for one in MUTATIONS if scenario in (one.scenario, one.scenario.part_of))


def _say(text: str, findings: Sequence[Finding] = ()) -> None:
    lines = [text, *(f"          {finding}" for finding in findings[:_SHOWN])]
    if len(findings) > _SHOWN:
        lines.append(f"          and {len(findings) - _SHOWN} more")
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()
