"""Runs programs and leaves none of their processes behind, however a program or this process ends.

A keeper process runs between this process and the program. Both are subreapers (prctl(2)): a process whose parent
has died becomes their child, whatever session or process group it has moved to. The keeper ends what is left when the
program has ended or the keeper's own parent is gone. If the keeper is killed, its parent does the same.

    python -m tests.suite.contained PARENT_PID PROCESS_GROUP PROGRAM [ARGUMENT...]
"""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence

from tests.processes import Process, children

PR_SET_CHILD_SUBREAPER = 36
# How long a program has to end by itself after Ctrl-C, which the terminal sends to it as well.
AFTER_INTERRUPT = 15.0
# How long each process has between SIGTERM and SIGKILL.
AFTER_TERM = 5.0
_POLL_SECONDS = 0.05


class Runner:
    """Runs one program after another; a signal, or the death of the parent, stops the current one and all later."""

    def __init__(self) -> None:
        adopt_orphans()
        self._parent = os.getppid()
        # nohup ignores SIGHUP: such a run is meant to outlive its parent.
        self._detached = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
        self._signals: list[signal.Signals] = []
        for number in (signal.SIGINT, signal.SIGTERM, *(() if self._detached else (signal.SIGHUP,))):
            signal.signal(number, lambda number, _: self._signals.append(signal.Signals(number)))

    @property
    def stopped_by(self) -> signal.Signals | None:
        return self._signals[0] if self._signals else None

    def run(self, program: Sequence[str]) -> int:
        """Returns the program's exit code once none of its processes is left; 128 + n when signal n stopped it."""
        if self.stopped_by is not None:
            return 128 + self.stopped_by
        command = [sys.executable, "-m", "tests.suite.contained", str(os.getpid()), str(os.getpgrp()), *program]
        # In a group of its own: a signal that kills the whole group of the run spares the keeper, which cleans up.
        with subprocess.Popen(command, process_group=0) as keeper:
            forwarded = 0
            while keeper.poll() is None:
                if not self._signals and not self._detached and os.getppid() != self._parent:
                    say("The run stops: its parent process has ended (nohup would keep it running).")
                    self._signals.append(signal.SIGTERM)
                for number in self._signals[forwarded:]:
                    forwarded += 1
                    keeper.send_signal(signal.SIGINT if number == signal.SIGINT and forwarded == 1 else signal.SIGTERM)
                time.sleep(_POLL_SECONDS)
        end_children()
        if self.stopped_by is not None:
            return 128 + self.stopped_by
        return keeper.returncode if keeper.returncode >= 0 else 128 - keeper.returncode


def say(text: str) -> None:
    """Prints between two programs, in the order in which they print."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def adopt_orphans() -> None:
    """Makes every descendant whose parent dies a child of this process."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "child subreaper")


def end_children() -> None:
    """Ends all descendants from the top: SIGTERM, later SIGKILL. This process adopts the children of an ended one."""
    first_seen: dict[Process, float] = {}
    while living := [child for child in children(os.getpid()) if child.alive]:
        now = time.monotonic()
        for child in living:
            if child not in first_seen:
                first_seen[child] = now
                child.send(signal.SIGTERM)
            elif now > first_seen[child] + AFTER_TERM:
                child.send(signal.SIGKILL)
        time.sleep(_POLL_SECONDS)
        reap()


def reap() -> dict[int, int]:
    """Collects the exit codes of the children that have ended, by pid; negative: the signal that ended it."""
    codes: dict[int, int] = {}
    try:
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            codes[ended[0]] = os.waitstatus_to_exitcode(ended[1])
    except ChildProcessError:
        return codes  # it has no child at all
    return codes


def keep(parent: int, group: int, program: Sequence[str]) -> int:
    """Runs the program in the process group until it ends, the parent is gone or a signal stops it."""
    adopt_orphans()
    signals: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: signals.append(number))
    running = subprocess.Popen(program, process_group=group)
    code: int | None = None
    patience = float("inf")
    while code is None and os.getppid() == parent and signal.SIGTERM not in signals and time.monotonic() < patience:
        if signals and patience == float("inf"):
            patience = time.monotonic() + AFTER_INTERRUPT
        time.sleep(_POLL_SECONDS)
        code = reap().get(running.pid)
    end_children()
    running.returncode = code  # collected above; Popen would complain about a process that still runs
    if code is None:
        return 128 + signal.SIGTERM
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(keep(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]))
