"""Keeps the NATS store off a full disk.

A stream that meets a full disk accepts nothing more until its server restarts, and its publishers only see that no
answer comes. So while less than a reserve is free, whatever has filled the disk, the store is closed for writes:
publishers get an error at once, and reads go on. The store opens by itself when there is room again. If the disk was
filled more quickly than this notices, the server restarts then.
"""

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

from infra.embedded.nats_server import MEBIBYTE, NatsServer

CHECK_SECONDS = 1.0
_MOST_RESERVED = 256 * MEBIBYTE
# The part of a smaller disk that is kept free.
_SHARE = 20

# Writes a line of the log; with its level.
Report = Callable[[str, str], None]


class StoreSpace:
    def __init__(self, server: NatsServer, folder: Path, report: Report) -> None:
        """`folder`: a folder on the disk of the server's store."""
        self._server = server
        self._folder = folder
        self._report = report

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
        """Closes or opens the store if the free space demands it.

        Raises:
            OSError: the disk or the server's configuration cannot be used.
        """
        total, _, free = shutil.disk_usage(self._folder)
        reserve = min(_MOST_RESERVED, total // _SHARE)
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
                self._server.restart_after_full_disk()
                self._report("there is space again: the server restarts, since the disk was full", "WARNING")
            elif self._server.is_closed:
                self._server.open_for_writes()
                self._report("there is space again: writes are accepted", "INFO")
