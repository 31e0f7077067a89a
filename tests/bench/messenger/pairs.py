"""Measures two trees in turns, each time on a fresh system: the current tree and that of another commit.

Figures of one run mean little on a shared machine, and a system that has stored messages is dearer than a new one. Each
round runs both trees, in alternating order, with the bench of each tree; the ratio of a round compares its two runs.
"""

import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import msgspec

from tests.bench.messenger.driving import Outcome
from tests.bench.messenger.results import Run
from tests.worktrees import ROOT, worktree


class Round(msgspec.Struct):
    """One run of each tree."""

    present: Run
    other: Run


class Ratio(msgspec.Struct, frozen=True):
    """A figure of both trees: the medians, and the ratio present to other: the median of the rounds, and its range."""

    scenario: str
    figure: str
    present: float
    other: float
    ratio: float
    lowest: float
    highest: float


FIGURES: dict[str, Callable[[Outcome], float | None]] = {
    "a second": lambda outcome: outcome.per_second,
    "p50 ms": lambda outcome: outcome.p50,
    "p99 ms": lambda outcome: outcome.p99,
    "delivery p99 ms": lambda outcome: outcome.delivery_p99,
    "servers' CPU µs": lambda outcome: outcome.servers_cpu,
}


def measure(commit: str, options: Sequence[str], rounds: int, say: Callable[[str], None]) -> list[Round]:
    """Runs the bench with these options in both trees, `rounds` times each.

    Raises:
        RuntimeError: a run has failed, or the commit is unknown.
    """
    measured = []
    with tempfile.TemporaryDirectory() as folder, worktree(commit, Path(folder) / "other") as other_root:
        # PostgreSQL does not run as root, and has to enter the folder.
        Path(folder).chmod(0o755)
        for number in range(rounds):
            trees = [ROOT, other_root] if number % 2 == 0 else [other_root, ROOT]
            runs = {root: _run(root, options) for root in trees}
            measured.append(Round(runs[ROOT], runs[other_root]))
            say(f"round {number + 1} of {rounds}")
            for line in lines(compare(measured[-1:])):
                say(f"    {line}")
    return measured


def _run(root: Path, options: Sequence[str]) -> Run:
    command = [str(root / "just"), "bench", "messenger", *options, "--json"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {(done.stdout + done.stderr)[-2_000:]}")
    return msgspec.json.decode(done.stdout.splitlines()[-1], type=Run)


def compare(rounds: Sequence[Round]) -> list[Ratio]:
    """The figures that both trees have in every round."""
    ratios = []
    for scenario in rounds[0].present.outcomes():
        outcomes = [
            (one_round.present.outcomes().get(scenario), one_round.other.outcomes().get(scenario))
            for one_round in rounds
        ]
        for figure, value_of in FIGURES.items():
            values = [
                (mine, theirs)
                for present, other in outcomes
                if present and other and (mine := value_of(present)) and (theirs := value_of(other))
            ]
            if len(values) < len(rounds):
                continue
            quotients = [mine / theirs for mine, theirs in values]
            ratios.append(
                Ratio(
                    scenario,
                    figure,
                    median(mine for mine, _ in values),
                    median(theirs for _, theirs in values),
                    median(quotients),
                    min(quotients),
                    max(quotients),
                )
            )
    return ratios


def lines(ratios: Sequence[Ratio]) -> list[str]:
    """The ratios as text."""
    return [
        f"{ratio.scenario:<24}{ratio.figure:<16}{ratio.present:>10,.1f} against{ratio.other:>10,.1f}"
        f"{ratio.ratio:>8.3f} ({ratio.lowest:.3f} to {ratio.highest:.3f})"
        for ratio in ratios
    ]
