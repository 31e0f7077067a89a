"""The summary of a run: what the report needs of its result, small enough to be kept in the repository."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from tests.faults.mutations.catalogue import MUTATIONS
from tests.faults.recovery import Recovery, Tally
from tests.faults.result import Conditions, Mutations, Result, Run

FOLDER = Path(__file__).parent
_MUTATIONS = "mutations.json"


class FaultSummary(msgspec.Struct, frozen=True, kw_only=True):
    """All steps of a run with one fault, or with the same two."""

    faults: tuple[str, ...]
    acknowledged: int
    lost: int = 0
    doubled: int = 0
    wrong: int = 0
    # Seconds of recovery, of each step.
    recovery: list[float]


class RunSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A run of the deployment under faults."""

    date: str
    tree: str
    machine: str
    conditions: Conditions
    minutes: float
    acknowledged: int
    live_events: int
    # Of all findings, also those about no moment.
    found: Tally
    findings: list[str]
    # Why the run was not ended; empty if it was.
    failure: str = ""
    faults: list[FaultSummary]


def summary(run: Run) -> RunSummary:
    return RunSummary(
        date=run.date,
        tree=run.tree,
        machine=run.machine,
        conditions=run.conditions,
        minutes=round(run.seconds / 60, 1),
        acknowledged=run.acknowledged,
        live_events=run.live_events,
        found=run.found,
        findings=run.findings,
        failure=run.failure,
        faults=by_fault(run.steps),
    )


def by_fault(steps: Iterable[Recovery]) -> list[FaultSummary]:
    """The sums of the steps with the same faults, in the order of their names."""
    groups: dict[tuple[str, ...], list[Recovery]] = defaultdict(list)
    for step in steps:
        groups[step.faults].append(step)
    return [
        FaultSummary(
            faults=faults,
            acknowledged=sum(step.acknowledged for step in own),
            lost=sum(step.found.lost for step in own),
            doubled=sum(step.found.doubled for step in own),
            wrong=sum(step.found.wrong for step in own),
            recovery=[round(step.seconds, 1) for step in own],
        )
        for faults, own in sorted(groups.items())
    ]


def keep(results: Sequence[Result], folder: Path = FOLDER) -> None:
    """Writes what is kept of the results; a run that is kept already is replaced."""
    for one in results:
        if isinstance(one, Run):
            _write(folder / f"{one.date}-{one.tree}-{one.conditions.seed}.json", summary(one))
        else:
            _write(folder / _MUTATIONS, _newest(kept_mutations(folder), one))


def kept_runs(folder: Path = FOLDER) -> list[RunSummary]:
    """The kept summaries of runs, in the order of their dates."""
    paths = sorted(path for path in folder.glob("*.json") if path.name != _MUTATIONS)
    return [msgspec.json.decode(path.read_bytes(), type=RunSummary) for path in paths]


def kept_mutations(folder: Path = FOLDER) -> Mutations:
    path = folder / _MUTATIONS
    return msgspec.json.decode(path.read_bytes(), type=Mutations) if path.exists() else Mutations()


def _newest(kept: Mutations, run: Mutations) -> Mutations:
    """The newest result of each mutation that still exists, in the order of the catalogue."""
    caught = {one.name: one for one in (*kept.mutations, *run.mutations)}
    unmutated = {one.name: one for one in (*kept.unmutated, *run.unmutated)}
    names = [mutation.name for mutation in MUTATIONS]
    return msgspec.structs.replace(
        run,
        mutations=[caught[name] for name in names if name in caught],
        unmutated=[unmutated[name] for name in names if name in unmutated],
    )


def _write(path: Path, kept: RunSummary | Mutations) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(kept), indent=1) + b"\n")
