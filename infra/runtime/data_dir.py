"""The data directory: created, checked, and locked by one supervisor at a time."""

import asyncio
import errno
import fcntl
import os
import shutil
import tempfile
from pathlib import Path

from infra.operator_errors import OperatorError

LEAST_FREE = 256 * 1024 * 1024
LOCK_NAME = "lock"
# A reader of run.json, or a previous process that is exiting, holds the lock for at most this long.
PATIENCE = 1.0


class DataDirUnusable(OperatorError):
    """The data directory cannot be used."""


async def claim(folder: Path) -> int:
    """Creates the folder and locks it until the returned descriptor is closed or the process ends.

    Raises:
        DataDirUnusable: it is in use, not writable, or the disk is full.
    """
    descriptor = _prepared(folder)
    try:
        await _lock(descriptor, folder)
        _check_room(folder)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def is_claimed(folder: Path) -> bool:
    """Whether a supervisor owns the folder now. The kernel holds the lock, so it cannot be stale."""
    try:
        descriptor = os.open(folder / LOCK_NAME, os.O_RDWR)
    except OSError:
        return False
    try:
        return not _try_lock(descriptor)
    finally:
        os.close(descriptor)


def _prepared(folder: Path) -> int:
    """Creates the folder, tests that it is writable, and returns the lock file's descriptor."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"\0" * 4096)
        return os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DataDirUnusable(f"no disk space is left for the data directory {folder}") from None
        raise DataDirUnusable(f"cannot write to the data directory {folder}: {error.strerror}") from None


async def _lock(descriptor: int, folder: Path) -> None:
    try:
        async with asyncio.timeout(PATIENCE):
            while not _try_lock(descriptor):  # noqa: ASYNC110 - another process lets go of it, no event tells
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise DataDirUnusable(f"the data directory {folder} is in use by another `vestnik up`") from None


def _check_room(folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if free < LEAST_FREE:
        raise DataDirUnusable(
            f"no disk space: {free // 1024**2} MiB are free for the data directory {folder}, and "
            f"{LEAST_FREE // 1024**2} MiB are needed"
        )


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
