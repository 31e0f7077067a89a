"""Resource use of a running system: processor time and memory by process, bytes on disk."""

import os
from collections import defaultdict
from pathlib import Path

import msgspec

from tests.fix_system import System
from tests.processes import Process

_TICKS = os.sysconf("SC_CLK_TCK")
_PROGRAMS = {"nats-server": "nats", "postgres": "postgres", "postgres:": "postgres"}


class Costs(msgspec.Struct, frozen=True):
    """Seconds of processor time by part since each began."""

    seconds: dict[str, float]

    def since(self, before: "Costs") -> dict[str, float]:
        """Seconds by part between two readings; what has ended meanwhile is not in it."""
        return {part: round(spent - before.seconds.get(part, 0.0), 3) for part, spent in self.seconds.items()}


def costs(system: System) -> Costs:
    """Processor time of every part of the system, and of this process as `client`."""
    spent: defaultdict[str, float] = defaultdict(float)
    for process in system.processes():
        spent[part_of(process)] += processor_seconds(process.pid)
    spent["client"] = processor_seconds(os.getpid())
    return Costs(dict(spent))


def memory(system: System) -> dict[str, float]:
    """MiB by part, shared pages counted in proportion (PSS)."""
    by_part: defaultdict[str, float] = defaultdict(float)
    for process in system.processes():
        by_part[part_of(process)] += _pss(process.pid)
    return {part: round(mebibytes, 1) for part, mebibytes in by_part.items()}


def disk(system: System) -> dict[str, int]:
    """Bytes on disk by folder of the data directory."""
    by_folder: dict[str, int] = {}
    for folder in system.data_dir.iterdir():
        files = folder.rglob("*") if folder.is_dir() else [folder]
        by_folder[folder.name] = sum(file.stat().st_size for file in files if file.is_file())
    return by_folder


def part_of(process: Process) -> str:
    """The service's name, `nats`, `postgres`, or `supervisor`."""
    command = process.command
    program = Path(command[0].split(" ", 1)[0]).name if command else ""
    if program in _PROGRAMS:
        return _PROGRAMS[program]
    if "serve" in command:
        return command[-1]
    return "supervisor"


def processor_seconds(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _pss(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:")), 0.0)
