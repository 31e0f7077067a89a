"""A server's folder belongs to one server at a time, also while an orphaned one is still on its way out.

The lock is a `flock` whose descriptor the server inherits: it is held as long as any of the server's processes
lives, whoever started it, and the kernel lets go of it however they die. Nothing stale can remain.
"""

import asyncio
import fcntl
import os
from pathlib import Path

from infra.operator_errors import OperatorError


class FolderInUse(OperatorError):
    """Another server still works in the folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"another process still works in {folder}")


async def lock_folder(folder: Path, patience: float) -> int:
    """Locks the folder and returns the descriptor that holds the lock; waits for a dying owner up to `patience` s."""
    descriptor = os.open(folder / "in-use", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        async with asyncio.timeout(patience):
            while not _try_lock(descriptor):  # noqa: ASYNC110 - another process lets go of it, no event tells
                await asyncio.sleep(0.02)
    except BaseException as error:
        os.close(descriptor)
        if isinstance(error, TimeoutError):
            raise FolderInUse(folder) from None
        raise
    return descriptor


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
