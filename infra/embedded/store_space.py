"""Keeps the NATS store off a full disk.

A stream that meets a full disk accepts nothing more until its server restarts, and its publishers only see that no
answer comes. So while less than a reserve of bytes or of inodes is free, whatever has filled the disk, the store is
closed for writes: publishers get an error at once, and reads go on. The store opens by itself when there is room again.
If the disk was filled more quickly than this notices, the server restarts then.

A server may report a full disk that no check has seen, if it was full between two checks or a quota was reached. It is
restarted for that once in some minutes at most.
"""

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from infra.embedded.nats_server import MEBIBYTE, NatsServer

CHECK_SECONDS = 1.0
# What is kept free at most, and which part of a smaller disk.
_MOST_RESERVED = 256 * MEBIBYTE
_MOST_INODES_RESERVED = 1_000
_SHARE = 20
# Seconds between two restarts of a server that reports a full disk while no check has seen one.
_RESTART_SECONDS = 300.0

# Writes a line of the log; with its level.
Report = Callable[[str, str], None]


class _Room(NamedTuple):
    """How much of a resource of the disk is free, and how much of it is kept free."""

    free: int
    reserve: int
    # In what the log says.
    divisor: int
    unit: str

    @property
    def is_short(self) -> bool:
        """Whether too little is free to open the store."""
        return self.free < 2 * self.reserve

    @property
    def is_out(self) -> bool:
        """Whether too little is free to leave the store open."""
        return self.free < self.reserve

    def __str__(self) -> str:
        return f"{self.free // self.divisor} {self.unit}"

    @property
    def wanted(self) -> str:
        return f"{2 * self.reserve // self.divisor} {self.unit}"


def _rooms(folder: Path) -> list[_Room]:
    """Bytes and inodes of the disk; a file system without a limit of inodes reports a total of 0."""
    disk = os.statvfs(folder)
    size = disk.f_frsize
    return [
        _Room(disk.f_bavail * size, min(_MOST_RESERVED, disk.f_blocks * size // _SHARE), MEBIBYTE, "MiB"),
        *(
            [_Room(disk.f_favail, min(_MOST_INODES_RESERVED, disk.f_files // _SHARE), 1, "inodes")]
            if disk.f_files
            else []
        ),
    ]


class StoreSpace:
    def __init__(self, server: NatsServer, folder: Path, report: Report) -> None:
        """`folder`: a folder on the disk of the server's store."""
        self._server = server
        self._folder = folder
        self._report = report
        # Whether less than twice a reserve was free at a check since the last restart.
        self._was_low = False
        # The earliest time (monotonic clock) of a restart that no check explains, and whether its cause was reported.
        self._next_restart = 0.0
        self._is_reported = False

    async def run(self) -> None:
        """Checks the disk until cancelled."""
        failure = ""
        while True:
            try:
                self.check()
                failure = ""
            except OSError as error:
                if str(error) != failure:
                    failure = str(error)
                    self._report(f"the space for events cannot be checked: {failure}", "ERROR")
            await asyncio.sleep(CHECK_SECONDS)

    def check(self) -> None:
        """Closes or opens the store if the free space demands it; nothing while the server starts.

        Raises:
            OSError: the disk or the server's configuration cannot be used.
        """
        rooms = _rooms(self._folder)
        is_short = any(room.is_short for room in rooms)
        self._was_low = self._was_low or is_short
        if not self._server.has_started:
            return
        if out := next((room for room in rooms if room.is_out), None):
            if not self._server.is_closed:
                self._server.close_for_writes()
                self._report(
                    f"out of space: {out} are free on the disk of {self._folder}, writes are refused"
                    f" until there are {out.wanted}; see docs/runbooks/out-of-space.md",
                    "ERROR",
                )
        elif not is_short:
            if self._server.met_full_disk:
                self._restart(" and ".join(map(str, rooms)))
            elif self._server.is_closed:
                self._server.open_for_writes()
                self._report("there is space again: writes are accepted", "INFO")

    def _restart(self, free: str) -> None:
        """Restarts the server, which has met a full disk, unless it would only meet it again."""
        now = time.monotonic()
        if not (self._server.is_closed or self._was_low):
            if not self._is_reported:
                self._is_reported = True
                self._report(
                    f"the server reports a full disk although {free} are free on the disk of {self._folder}:"
                    " it accepts no events until it restarts; see docs/runbooks/out-of-space.md",
                    "ERROR",
                )
            if now < self._next_restart:
                return
        self._was_low = self._is_reported = False
        self._next_restart = now + _RESTART_SECONDS
        self._server.restart_after_full_disk()
        self._report("there is space again: the server restarts, since the disk was full", "WARNING")
