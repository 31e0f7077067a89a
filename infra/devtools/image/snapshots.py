"""Snapshots of roots between two runs: copies of folders, by a key of everything that went into them."""

import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from infra.devtools.image.commands import finish
from infra.operator_errors import OperatorError

# Older ones are made again, with the packages of that day.
_SECONDS = 7 * 86_400


class CopyFailed(OperatorError):
    """A root could not be copied."""


class Snapshots:
    """Snapshots in one folder, which one process at a time uses."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __contains__(self, key: str) -> bool:
        return (self._folder / key).is_dir()

    def restore(self, key: str, root: Path) -> None:
        """Makes `root` a copy of the snapshot."""
        copy(self._folder / key, root)

    def keep(self, root: Path, key: str) -> None:
        """Keeps a copy of `root`; a snapshot is there as a whole or not at all."""
        unfinished = self._folder / f"{key}.unfinished"
        copy(root, unfinished)
        os.utime(unfinished)
        unfinished.rename(self._folder / key)


def copy(source: Path, target: Path) -> None:
    """Copies a root with owners, modes and links; `target` is replaced."""
    shutil.rmtree(target, ignore_errors=True)
    command = ["cp", "--archive", "--reflink=auto", "--one-file-system", str(source), str(target)]
    done = finish(command)
    if done.returncode != 0:
        raise CopyFailed(done.stdout)


@contextmanager
def opened(*, fresh: bool) -> Iterator[tuple[Snapshots, Path]]:
    """The snapshots of this user, and an empty folder for work; waits while another process uses them.

    `fresh`: forgets all snapshots.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vestnik" / "image"
    folder, work = cache / "snapshots", cache / "work"
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(cache, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        for snapshot in folder.iterdir():
            if fresh or snapshot.suffix or snapshot.stat().st_mtime < time.time() - _SECONDS:
                shutil.rmtree(snapshot)
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        yield Snapshots(folder), work
    finally:
        shutil.rmtree(work, ignore_errors=True)
        os.close(descriptor)
