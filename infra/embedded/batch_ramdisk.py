"""Where the server gathers a batch until all of it is there: in memory, for the stream whose batches may fall apart.

On a single node it keeps each batch in a file store of its own first, three folders and five syncs for every one, to
complete it from there should it be killed amid writing it to the stream; a cluster does that in memory. In memory these
files outlive the server too, though not the machine. If that loses its power while a batch is being written, the first
events of the batch may stand in the stream without the others. None of them was acknowledged, and in MESSAGING a batch
is always of commands of one event each, none of which counts on those behind it. In other streams a command may append
several, all or none, and their batches stay on the disk.
"""

import asyncio
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from contracts.subjects import MESSAGING

# Linux's own file system in memory, for whoever is logged in.
_MEMORY = Path("/dev/shm")  # noqa: S108 - in it each server has a folder that is its own
_PREFIX = "vestnik-"
# In a server's folder there: what the server is given, and a link back to where it finds it.
_BATCHES, _BACK = "batches", "of"
# Seconds after which a folder without a server is nobody's; a server that is just starting has one for moments.
_ABANDONED = 60.0
# Clients that were waiting for the server may be before us, with a batch or two.
_ATTEMPTS = 100
_PAUSE = 0.01
# Room for the largest batch ten times over; what does not fit is refused, and goes to the stream event by event.
_ROOM = 32 * 1024 * 1024


class BatchRamdisk:
    """The place for one server; where there is none in memory everything stays as the server has it."""

    def __init__(self, store: Path, account: str) -> None:
        """`store`: the server's `store_dir`. `account`: the one that the stream lies in."""
        self._link = store / "jetstream" / account / "streams" / MESSAGING / "batches"
        self._places: list[Path] = []

    def remember(self) -> None:
        """Before the server starts: it may complete a batch from where an earlier one has left it."""
        if self._link.is_symlink() and (batches := self._link.readlink()).is_relative_to(_MEMORY):
            self._places.append(batches.parent)

    async def install(self) -> None:
        """Once the server is ready, which has completed what there was and removed the link."""
        self._discard()
        _clear_away()
        with suppress(OSError):
            if shutil.disk_usage(_MEMORY).free < _ROOM:
                return
            place = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=_MEMORY))
            self._places.append(place)
            (place / _BACK).symlink_to(self._link.absolute())
            (place / _BATCHES).mkdir(mode=0o700)
            self._link.parent.mkdir(parents=True, exist_ok=True)
            for _ in range(_ATTEMPTS):
                with suppress(OSError):
                    self._remove_link()
                    self._link.symlink_to(place / _BATCHES)
                    return
                await asyncio.sleep(_PAUSE)

    def leave(self) -> None:
        """When the server has stopped by itself: there is nothing to complete."""
        self._discard()
        if self._link.is_symlink():
            self._remove_link()

    def _remove_link(self) -> None:
        """Or a folder that the server has made, where nothing is in it just now."""
        if self._link.is_dir() and not self._link.is_symlink():
            self._link.rmdir()
        else:
            self._link.unlink(missing_ok=True)

    def _discard(self) -> None:
        for place in self._places:
            if place.name.startswith(_PREFIX):
                shutil.rmtree(place, ignore_errors=True)
        self._places.clear()


def _clear_away() -> None:
    """What servers have left that were killed, and whose data is gone since: nobody will ask for it."""
    for place in _MEMORY.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            link = (place / _BACK).readlink()
            is_in_use = link.is_symlink() and link.readlink() == place / _BATCHES
            if not is_in_use and time.time() - place.stat().st_mtime > _ABANDONED:
                shutil.rmtree(place, ignore_errors=True)
