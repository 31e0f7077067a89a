"""The result of a run as a JSON file, which reports are made from."""

import os
import platform
import resource
import subprocess
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from tests.faults.checker import check
from tests.faults.checker.finding import Bounds, Finding
from tests.faults.checker.messages import UNREAD
from tests.faults.history import Fault, LiveEvent, Request
from tests.faults.recording import read
from tests.faults.recovery import Recoveries, Recovery, Tally
from tests.rehearsal.cluster import ROOT

FILE = "result.json"
_MEBIBYTE = 1024


def _date() -> str:
    return datetime.now(UTC).date().isoformat()


def machine() -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} cores, {memory:.0f} GiB, Linux {platform.release()}, Python {platform.python_version()}"


def tree() -> str:
    """The commit that runs, and whether it is changed; empty outside of a repository."""
    command = ("git", "describe", "--always", "--abbrev=12", "--dirty", "--exclude=*")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()


class Conditions(msgspec.Struct, frozen=True, kw_only=True):
    """What a run of the deployment was started with."""

    seed: int
    conversations: int
    # Messages a second that the clients try to send.
    rate: float
    small: bool = False


class Run(msgspec.Struct, frozen=True, kw_only=True, tag="faults"):
    """A run of the deployment under faults."""

    conditions: Conditions
    date: str = msgspec.field(default_factory=_date)
    tree: str = msgspec.field(default_factory=tree)
    machine: str = msgspec.field(default_factory=machine)
    # From the first fault to the end of the last one.
    seconds: float
    acknowledged: int
    # Requests by operation, and live events that were delivered.
    requests: dict[str, int]
    live_events: int
    steps: list[Recovery]
    # Of all findings, also those about no moment.
    found: Tally
    findings: list[str]
    # Why the run was not ended; empty if it was.
    failure: str = ""
    # What the check took.
    checked_in: float
    checker_mebibytes: float


class Caught(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a mutation."""

    name: str
    fault: str
    tree: str = msgspec.field(default_factory=tree)
    is_caught: bool
    checks: list[str]
    # From the start of the system to the verdict.
    seconds: float


class Unmutated(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a scenario in the tree without a mutation."""

    # Of the first mutation that the scenario is for.
    name: str
    tree: str = msgspec.field(default_factory=tree)
    is_sound: bool


class Mutations(msgspec.Struct, frozen=True, kw_only=True, tag="mutations"):
    """A run of mutations."""

    date: str = msgspec.field(default_factory=_date)
    machine: str = msgspec.field(default_factory=machine)
    mutations: list[Caught] = []
    unmutated: list[Unmutated] = []


Result = Run | Mutations


def judged(folder: Path, conditions: Conditions, bounds: Bounds | None, failure: str = "") -> Run:
    """Checks the history of a run, part by part."""
    begun = time.monotonic()
    findings: list[Finding] = []
    requests: Counter[str] = Counter()
    recoveries, acknowledged, live_events = Recoveries([]), 0, 0
    for history in read(folder):
        # All faults are in the first part.
        recoveries = recoveries if recoveries.steps else Recoveries(history.of(Fault))
        part_findings = check(history, bounds)
        if failure:
            # That nobody has read the conversations by then is what the failure says.
            part_findings = [finding for finding in part_findings if finding.check != UNREAD]
        findings += part_findings
        recoveries.add(history, part_findings)
        requests.update(request.operation for request in history.of(Request))
        acknowledged += history.acknowledged
        live_events += len(history.of(LiveEvent))
        # Not while the next part is read.
        del history
    tally = Tally()
    for finding in findings:
        tally.add(finding)
    steps = recoveries.steps
    return Run(
        conditions=conditions,
        seconds=steps[-1].ended - steps[0].begun if steps else 0.0,
        acknowledged=acknowledged,
        requests=dict(sorted(requests.items())),
        live_events=live_events,
        steps=steps,
        found=tally,
        findings=[str(finding) for finding in findings],
        failure=failure,
        checked_in=time.monotonic() - begun,
        checker_mebibytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _MEBIBYTE,
    )


def write(result: Result, folder: Path) -> Path:
    """Writes the file whole or not at all."""
    path = folder / FILE
    partial = path.with_suffix(".partial")
    partial.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=1))
    return partial.replace(path)


def load(paths: Sequence[Path]) -> list[Result]:
    decoder = msgspec.json.Decoder(Result)
    return [decoder.decode(path.read_bytes()) for path in paths]
