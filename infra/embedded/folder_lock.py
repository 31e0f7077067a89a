"""Lock on a server's folder: one server at a time, even while an orphaned one is still exiting.

The lock is a `flock` whose descriptor the server inherits. It is held as long as any of the server's processes lives,
and the kernel releases it however they die, so it cannot be stale.
"""

import asyncio
import fcntl
import os
from pathlib import Path

from infra.operator_errors import OperatorError


class FolderInUse(OperatorError):
    """Another server is still working in the folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"another process is still using {folder}")


async def lock_folder(folder: Path, patience: float) -> int:
    """Locks the folder, waiting up to `patience` seconds for an exiting owner; returns the lock's descriptor.

    Raises:
        FolderInUse: the owner did not exit in time.
    """
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
