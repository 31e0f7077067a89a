"""Detects that a process hangs: it runs, but its event loop does not turn.

A loop can be late by many seconds on a busy machine, in a process that lacks nothing but processor time. So the time
since the last heartbeat counts only as far as the process could have used it:

- in full while all of its threads are stopped or asleep;
- as its main thread's processor time while that is ready to run: other threads may get a processor when it does not;
- as the process's processor time while the main thread sleeps and another is ready to run;
- not at all while the main thread waits for the disk, or while the supervisor itself was not scheduled.
"""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

_INTERVAL = 0.5
# The most that one look counts: beyond this the supervisor itself was late.
_LONGEST = 2 * _INTERVAL
_TICKS = os.sysconf("SC_CLK_TCK")
_STATES = {"T": "stopped by a signal", "t": "stopped by a debugger", "S": "blocked", "R": "running"}
_RUNNABLE, _DISK = "R", "D"


class Reading(NamedTuple):
    """The state of a process according to the kernel."""

    # State letters of its threads, the main thread's first.
    states: str
    # Seconds of processor time that all of its threads have used.
    processor: float
    # Those of its main thread.
    main: float


def read_process(pid: int) -> Reading | None:
    """Returns None if there is no such process any more."""
    tasks = Path("/proc") / str(pid) / "task"
    try:
        threads = sorted(tasks.iterdir(), key=lambda task: (task.name != str(pid), task.name))
        fields = [_fields(task / "stat") for task in threads]
        own = _fields(tasks.parent / "stat")
    except OSError:
        return None
    return Reading("".join(stat[0] for stat in fields), _processor_seconds(own), _processor_seconds(fields[0]))


def _processor_seconds(fields: list[str]) -> float:
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _fields(stat: Path) -> list[str]:
    # The name, in parentheses, may contain anything.
    return stat.read_text().rpartition(")")[2].split()


class Silence:
    """The time for which a process could have given a sign of life and did not."""

    def __init__(self, read: Callable[[], Reading | None]) -> None:
        self._read = read
        self._last: Reading | None = None
        self.seconds = 0.0
        self.state = ""

    def end(self) -> None:
        self.seconds = 0.0
        self._last = None

    def add(self, passed: float) -> None:
        """Counts the time since the last call, or since the last sign of life."""
        reading = self._read()
        before, self._last = self._last, reading
        if reading is None:
            return
        self.state = reading.states[0]
        if self.state == _DISK:
            return
        if _RUNNABLE not in reading.states:
            self.seconds += passed
        elif before is not None:
            main_runs = self.state == _RUNNABLE
            used = reading.main - before.main if main_runs else reading.processor - before.processor
            self.seconds += min(used, passed)


async def wait_until_hung(pid: int, heartbeats: int, limit: float) -> str:
    """Waits until the process has hung for `limit` seconds; returns a description. Never returns after its end.

    `heartbeats`: the end of its pipe to read from; nothing is counted before the first heartbeat.
    """
    loop = asyncio.get_running_loop()
    silence = Silence(lambda: read_process(pid))
    beating: bool | None = None

    def take() -> None:
        nonlocal beating
        beating = bool(os.read(heartbeats, 65_536))
        silence.end()
        if not beating:
            # It is ending.
            loop.remove_reader(heartbeats)

    loop.add_reader(heartbeats, take)
    try:
        checked_at = loop.time()
        while silence.seconds < limit:
            await asyncio.sleep(_INTERVAL)
            now = loop.time()
            if beating:
                silence.add(min(now - checked_at, _LONGEST))
            checked_at = now
    finally:
        loop.remove_reader(heartbeats)
    state = _STATES.get(silence.state, silence.state)
    return f"its event loop has not turned for {silence.seconds:.1f} s, and its main thread is {state}"
