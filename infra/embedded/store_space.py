"""Keeps the NATS store off a full disk.

A stream that meets a full disk accepts nothing more until its server restarts, and its publishers only see that no
answer comes. So while less than a reserve is free, whatever has filled the disk, the store is closed for writes:
publishers get an error at once, and reads go on. The store opens by itself when there is room again. If the disk was
filled more quickly than this notices, the server restarts then.

A server that reports a full disk while bytes are free is out of inodes, or the disk was full between two checks. It is
restarted once in some minutes at most, and only while there are inodes.
"""

import asyncio
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from infra.embedded.nats_server import MEBIBYTE, NatsServer

CHECK_SECONDS = 1.0
_MOST_RESERVED = 256 * MEBIBYTE
# The part of a smaller disk that is kept free.
_SHARE = 20
# Seconds between two restarts of a server that reports a full disk while no check has seen one.
_RESTART_SECONDS = 300.0

# Writes a line of the log; with its level.
Report = Callable[[str, str], None]


class StoreSpace:
    def __init__(self, server: NatsServer, folder: Path, report: Report) -> None:
        """`folder`: a folder on the disk of the server's store."""
        self._server = server
        self._folder = folder
        self._report = report
        # Whether less than twice the reserve was free at a check since the last restart.
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
        total, _, free = shutil.disk_usage(self._folder)
        reserve = min(_MOST_RESERVED, total // _SHARE)
        self._was_low = self._was_low or free < 2 * reserve
        if not self._server.has_started:
            return
        if free < reserve:
            if not self._server.is_closed:
                self._server.close_for_writes()
                self._report(
                    f"out of space: {free // MEBIBYTE} MiB are free on the disk of {self._folder}, writes are refused"
                    f" until there are {2 * reserve // MEBIBYTE} MiB; see docs/runbooks/out-of-space.md",
                    "ERROR",
                )
        elif free >= 2 * reserve:
            if self._server.met_full_disk:
                self._restart(free)
            elif self._server.is_closed:
                self._server.open_for_writes()
                self._report("there is space again: writes are accepted", "INFO")

    def _restart(self, free: int) -> None:
        """Restarts the server, which has met a full disk, unless it would only meet it again."""
        now = time.monotonic()
        if not (self._server.is_closed or self._was_low):
            disk = os.statvfs(self._folder)
            if not self._is_reported:
                self._is_reported = True
                self._report(
                    f"the server reports a full disk although {free // MEBIBYTE} MiB are free on the disk of"
                    f" {self._folder} (free inodes: {disk.f_favail}): it accepts no events until it restarts;"
                    " see docs/runbooks/out-of-space.md",
                    "ERROR",
                )
            # A file system without a limit of inodes reports a total of 0.
            if now < self._next_restart or (disk.f_files and not disk.f_favail):
                return
        self._was_low = self._is_reported = False
        self._next_restart = now + _RESTART_SECONDS
        self._server.restart_after_full_disk()
        self._report("there is space again: the server restarts, since the disk was full", "WARNING")
