"""Moves the server's staging area for MESSAGING batches from disk to memory.

A single node first writes each batch to a file store of its own, at the cost of three folders and five syncs, so that
it can complete the batch after being killed while writing it to the stream. A cluster stages batches in memory. Files
in /dev/shm survive the server, but not the machine: if it loses power while a batch is being written, the stream may
have the first events of the batch without the rest. None of them was acknowledged, and a batch in MESSAGING always
consists of commands of one event each, none of which depends on later ones. In other streams a command may append
several events, all or none, and their batches stay on disk.
"""

import asyncio
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from contracts.subjects import MESSAGING

# Linux's in-memory file system, writable for every user.
_MEMORY = Path("/dev/shm")  # noqa: S108 - in it each server has a folder that is its own
_PREFIX = "vestnik-"
# In a server's folder there: the staging area, and a link back to the path where the server finds it.
_BATCHES, _BACK = "batches", "of"
# Seconds after which a folder without a server counts as abandoned; a starting server briefly has such a folder.
_ABANDONED = 60.0
# Attempts to create the link: clients that were waiting for the server may write a batch or two first.
_ATTEMPTS = 100
_PAUSE = 0.01
# Room for ten of the largest batches; a batch that does not fit is refused, and appended event by event.
_ROOM = 32 * 1024 * 1024


class BatchRamdisk:
    """The in-memory staging area of one server; without room in memory the server keeps its own on disk."""

    def __init__(self, store: Path, account: str) -> None:
        """`store`: the server's `store_dir`. `account`: the account that holds the stream."""
        self._link = store / "jetstream" / account / "streams" / MESSAGING / "batches"
        self._folders: list[Path] = []

    def remember(self) -> None:
        """Call before the server starts: notes the previous area, from which the server may complete a batch."""
        if self._link.is_symlink() and (batches := self._link.readlink()).is_relative_to(_MEMORY):
            self._folders.append(batches.parent)

    async def install(self) -> None:
        """Call once the server is ready: by then it has completed pending batches and removed the link."""
        self._discard()
        _delete_leftovers()
        with suppress(OSError):
            if shutil.disk_usage(_MEMORY).free < _ROOM:
                return
            folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=_MEMORY))
            self._folders.append(folder)
            (folder / _BACK).symlink_to(self._link.absolute())
            (folder / _BATCHES).mkdir(mode=0o700)
            self._link.parent.mkdir(parents=True, exist_ok=True)
            for _ in range(_ATTEMPTS):
                with suppress(OSError):
                    self._remove_link()
                    self._link.symlink_to(folder / _BATCHES)
                    return
                await asyncio.sleep(_PAUSE)

    def leave(self) -> None:
        """Call after the server has stopped cleanly: there is nothing to complete."""
        self._discard()
        if self._link.is_symlink():
            self._remove_link()

    def _remove_link(self) -> None:
        """Removes the link, or the server's own folder if it is empty."""
        if self._link.is_dir() and not self._link.is_symlink():
            self._link.rmdir()
        else:
            self._link.unlink(missing_ok=True)

    def _discard(self) -> None:
        for folder in self._folders:
            if folder.name.startswith(_PREFIX):
                shutil.rmtree(folder, ignore_errors=True)
        self._folders.clear()


def _delete_leftovers() -> None:
    """Deletes areas of killed servers whose data no longer refers to them."""
    for folder in _MEMORY.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            link = (folder / _BACK).readlink()
            is_in_use = link.is_symlink() and link.readlink() == folder / _BATCHES
            if not is_in_use and time.time() - folder.stat().st_mtime > _ABANDONED:
                shutil.rmtree(folder, ignore_errors=True)
