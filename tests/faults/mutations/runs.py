"""Runs mutations: each must be caught, and the tree without them must pass the same scenarios."""

import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.faults.checker.finding import Finding
from tests.faults.mutations import single_machine
from tests.faults.mutations.catalogue import BY_NAME, MUTATIONS
from tests.faults.mutations.mutation import Mutation, mutated
from tests.faults.mutations.single_machine import Scenario
from tests.fix_system import ROOT

_SHOWN = 5


async def run(names: Sequence[str], folder: Path | None = None) -> int:
    """Runs the mutations of these names, or all, and prints what was found; returns the exit code.

    `folder`: keeps the logs and histories of the runs; without it they are removed.
    """
    mutations = [BY_NAME[name] for name in names] or list(MUTATIONS)
    failed = 0
    with tempfile.TemporaryDirectory(prefix="mutations-", ignore_cleanup_errors=True) as temporary:
        runs = Runs(folder or Path(temporary))
        tried: list[Scenario] = []
        for mutation in mutations:
            whole = mutation.scenario.part_of or mutation.scenario
            if whole not in tried:
                tried.append(whole)
                failed += not await runs.passes(whole, f"without {mutation.name}")
            failed += not await runs.catches(mutation)
    _say(f"{len(mutations)} mutations, {failed} failures")
    return 1 if failed else 0


class Runs:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def passes(self, scenario: Scenario, name: str) -> bool:
        """Whether nothing is found in the tree as it is."""
        findings, seconds = await self._run(scenario, name.replace(" ", "-"), ROOT)
        _say(f"{seconds:6.1f} s  {name}: {'sound' if not findings else 'NOT SOUND'}", findings)
        return not findings

    async def catches(self, mutation: Mutation) -> bool:
        with mutated(ROOT, mutation) as tree:
            findings, seconds = await self._run(mutation.scenario, mutation.name, tree)
        checks = sorted({finding.check for finding in findings})
        is_caught = bool(set(checks) & set(mutation.caught_by))
        verdict = (
            f"caught by {', '.join(checks)}" if is_caught else f"NOT CAUGHT (found {', '.join(checks) or 'nothing'})"
        )
        _say(f"{seconds:6.1f} s  {mutation.name}: {verdict}", findings)
        return is_caught

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
