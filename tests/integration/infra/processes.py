"""Inspects processes in /proc."""

import asyncio
import os
from contextlib import suppress
from pathlib import Path

from tests.processes import process


def descendants(pid: int) -> set[int]:
    """All live descendants of the process."""
    pids: set[int] = set()
    waiting = [pid]
    while waiting:
        for child in _children(waiting.pop()):
            pids.add(child)
            waiting.append(child)
    return pids


def is_alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def command_of(pid: int) -> list[str]:
    """Program and arguments; empty if the process has ended."""
    proc = process(pid)
    return proc.command if proc is not None else []


async def all_gone(pids: set[int], within: float) -> None:
    """Waits until none of the processes runs."""
    async with asyncio.timeout(within):
        while any(is_alive(pid) for pid in pids):
            await asyncio.sleep(0.02)


def _children(pid: int) -> list[int]:
    pids: list[int] = []
    # The process may end meanwhile.
    with suppress(FileNotFoundError, ProcessLookupError):
        for task in os.listdir(f"/proc/{pid}/task"):
            with suppress(FileNotFoundError, ProcessLookupError):
                pids += map(int, Path(f"/proc/{pid}/task/{task}/children").read_text().split())
    return pids
