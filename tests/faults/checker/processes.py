"""Processes: each comes back by itself, none ends by itself, and none grows."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from math import inf
from statistics import median

from tests.faults.checker.finding import Bounds, Finding
from tests.faults.history import Fault, History, ProcessSample, ProcessState

_READY, _ENDED = "ready", "ended"
# Fewer samples of one process say nothing about growth.
_FEWEST = 6


def not_back(history: History, bounds: Bounds) -> Iterator[Finding]:
    """After the last fault each process is ready again, within the bound."""
    healed = max((fault.ended for fault in history.of(Fault)), default=inf)
    for process, states in _states(history).items():
        last = states[-1]
        if last.state != _READY:
            yield Finding("processes.not_back", f"{process} is {last.state} at the end")
        elif last.at > healed + bounds.back:
            yield Finding("processes.not_back", f"{process} was ready {last.at - healed:.0f} s after the last fault")


def crashed(history: History, _: Bounds) -> Iterator[Finding]:
    """No process ends unless the laboratory ends it."""
    for process, states in _states(history).items():
        for state in states:
            if state.state == _ENDED and not state.expected:
                yield Finding("processes.crashed", f"{process} ended by itself with {state.exit_code}")


def growing(history: History, bounds: Bounds) -> Iterator[Finding]:
    """A process holds at the end about as much as after its start."""
    samples: dict[tuple[str, int], list[ProcessSample]] = defaultdict(list)
    for sample in history.of(ProcessSample):
        samples[sample.process, sample.pid].append(sample)
    for (process, pid), own in samples.items():
        if len(own) < _FEWEST:
            continue
        memory = _growth([sample.resident_bytes for sample in own], bounds.memory_factor, bounds.memory_bytes)
        files = _growth([sample.open_files for sample in own], bounds.files_factor, bounds.files)
        if memory:
            yield Finding("processes.growing", f"the memory of {process} ({pid}) grew from {memory} bytes")
        if files:
            yield Finding("processes.growing", f"the open files of {process} ({pid}) grew from {files}")


def _growth(values: Sequence[int], factor: float, room: int) -> str:
    """Describes how the median grew from the second to the last third; empty if that is allowed.

    The first third is left out: a process fills its caches then.
    """
    third = len(values) // 3
    before, after = median(values[third : 2 * third]), median(values[-third:])
    return f"{before:.0f} to {after:.0f}" if after > before * factor and after > before + room else ""


def _states(history: History) -> dict[str, list[ProcessState]]:
    by_process: dict[str, list[ProcessState]] = defaultdict(list)
    for state in history.of(ProcessState):
        by_process[state.process].append(state)
    return by_process
