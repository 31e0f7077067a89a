"""Processes and their descendants, read from /proc."""

import contextlib
import os
import signal
from pathlib import Path

import msgspec


class Process(msgspec.Struct, frozen=True):
    """A process, identified by pid and start time, since a pid may be reused."""

    pid: int
    # Clock ticks since the machine's start.
    started: int

    @property
    def alive(self) -> bool:
        fields = _stat(self.pid)
        return fields is not None and fields[1] == self and fields[2] not in {"Z", "X"}

    @property
    def command(self) -> list[str]:
        """Program and arguments; empty if the process has ended."""
        try:
            line = Path(f"/proc/{self.pid}/cmdline").read_bytes().decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            return []
        words = line.rstrip("\0").split("\0")
        # A process that has set its title has it as one text.
        return words if len(words) > 1 else words[0].split()

    def send(self, number: signal.Signals) -> None:
        """Sends the signal if the process is still alive."""
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """Sends SIGKILL if the process is still alive."""
        self.send(signal.SIGKILL)


def process(pid: int) -> Process | None:
    """The process that currently has the pid."""
    fields = _stat(pid)
    return fields[1] if fields else None


def children(pid: int) -> list[Process]:
    """The child processes, zombies included."""
    return _by_parent().get(pid, [])


def family(pid: int) -> set[Process]:
    """The process and all its descendants."""
    by_parent = _by_parent()
    first = process(pid)
    members = {first} if first else set()
    unseen = [pid]
    while unseen:
        for child in by_parent.get(unseen.pop(), []):
            members.add(child)
            unseen.append(child.pid)
    return members


def _by_parent() -> dict[int, list[Process]]:
    children_by_parent: dict[int, list[Process]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (stat := _stat(int(entry.name))):
            children_by_parent.setdefault(stat[0], []).append(stat[1])
    return children_by_parent


def _stat(pid: int) -> tuple[int, Process, str] | None:
    """Parent, process, state; see proc(5)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name, in brackets, may contain anything, so the fields are counted from its end.
    fields = text.rpartition(")")[2].split()
    return int(fields[1]), Process(pid, int(fields[19])), fields[0]
