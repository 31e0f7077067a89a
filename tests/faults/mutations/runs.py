"""Runs mutations: each must be caught, and the tree without them must pass the same scenarios."""

import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.faults import result
from tests.faults.checker.finding import Finding
from tests.faults.mutations import single_machine
from tests.faults.mutations.catalogue import BY_NAME, MUTATIONS
from tests.faults.mutations.mutation import Mutation, mutated
from tests.faults.mutations.single_machine import Scenario
from tests.faults.result import Caught
from tests.fix_system import ROOT

_SHOWN = 5


async def run(names: Sequence[str], folder: Path | None = None) -> int:
    """Runs the mutations of these names, or all, and prints what was found; returns the exit code.

    `folder`: keeps the result, and the logs and histories of the runs; without it they are removed.
    """
    mutations = [BY_NAME[name] for name in names] or list(MUTATIONS)
    with tempfile.TemporaryDirectory(prefix="mutations-", ignore_cleanup_errors=True) as temporary:
        runs = Runs(folder or Path(temporary))
        caught: list[Caught] = []
        unsound: list[str] = []
        tried: list[Scenario] = []
        for mutation in mutations:
            whole = mutation.scenario.part_of or mutation.scenario
            if whole not in tried:
                tried.append(whole)
                if not await runs.passes(whole, name := f"without {mutation.name}"):
                    unsound.append(name)
            caught.append(await runs.catches(mutation))
    failed = len(unsound) + sum(not one.is_caught for one in caught)
    _say(f"{len(mutations)} mutations, {failed} failures")
    if folder is not None:
        _say(f"the result is {result.write(result.Mutations(mutations=caught, unsound=unsound), folder)}")
    return 1 if failed else 0


class Runs:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def passes(self, scenario: Scenario, name: str) -> bool:
        """Whether nothing is found in the tree as it is."""
        findings, seconds = await self._run(scenario, name.replace(" ", "-"), ROOT)
        _say(f"{seconds:6.1f} s  {name}: {'sound' if not findings else 'NOT SOUND'}", findings)
        return not findings

    async def catches(self, mutation: Mutation) -> Caught:
        with mutated(ROOT, mutation) as tree:
            findings, seconds = await self._run(mutation.scenario, mutation.name, tree)
        checks = sorted({finding.check for finding in findings})
        is_caught = bool(set(checks) & set(mutation.caught_by))
        verdict = (
            f"caught by {', '.join(checks)}" if is_caught else f"NOT CAUGHT (found {', '.join(checks) or 'nothing'})"
        )
        _say(f"{seconds:6.1f} s  {mutation.name}: {verdict}", findings)
        return Caught(name=mutation.name, fault=mutation.fault, is_caught=is_caught, checks=checks, seconds=seconds)

    async def _run(self, scenario: Scenario, name: str, root: Path) -> tuple[list[Finding], float]:
        folder = self._folder / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        begun = time.monotonic()
        findings = await single_machine.run(scenario, folder, root)
        return findings, time.monotonic() - begun


def _say(text: str, findings: Sequence[Finding] = ()) -> None:
    lines = [text, *(f"          {finding}" for finding in findings[:_SHOWN])]
    if len(findings) > _SHOWN:
        lines.append(f"          and {len(findings) - _SHOWN} more")
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()
