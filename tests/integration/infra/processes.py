"""Looks at processes from outside, by /proc."""

import asyncio
from pathlib import Path


def descendants(pid: int) -> set[int]:
    """All living processes below this one."""
    found: set[int] = set()
    waiting = [pid]
    while waiting:
        for child in _children(waiting.pop()):
            found.add(child)
            waiting.append(child)
    return found


def is_alive(pid: int) -> bool:
    """Whether the process still runs; one that ended and was not collected yet does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


async def all_gone(pids: set[int], within: float) -> None:
    """Waits until none of them runs any more."""
    async with asyncio.timeout(within):
        while any(is_alive(pid) for pid in pids):
            await asyncio.sleep(0.02)


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += map(int, task.read_text().split())
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found
