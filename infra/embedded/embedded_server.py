"""A server from a wheel, run as a child process on one folder, on a port of the loopback address.

After `kill` or a crash `start` may be called again: same port, same data.
"""

import asyncio
import os
import signal
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from infra.embedded.child_process import Child, OnLine
from infra.embedded.folder_lock import lock_folder
from infra.embedded.ports import free_port
from infra.operator_errors import OperatorError

ORPHAN_GONE_WITHIN = 15.0
ATTEMPTS = 5
_POLL = 0.01


class EmbeddedServer(ABC):
    """One server on one folder. A subclass says how it is launched, when it is ready and how its log reads."""

    name: ClassVar[str]
    failure: ClassVar[type[OperatorError]]
    ready_within: ClassVar[float]
    # Ends the server gracefully; also sent if our process dies.
    stop_signal: ClassVar[signal.Signals]
    stop_within: ClassVar[float]
    # What the server logs if its port is in use.
    port_taken: ClassVar[str]
    # What marks the lines of its log that give the reason of its end.
    fatal: ClassVar[Sequence[str]]

    def __init__(self, data_dir: Path, *, port: int = 0, on_line: OnLine | None = None) -> None:
        self._folder = data_dir
        self._fixed_port = port
        self._port = port
        self._on_line = on_line
        self._log_file = data_dir / "server.log" if on_line is None else None
        self._child: Child | None = None

    @property
    @abstractmethod
    def url(self) -> str:
        """The URL with all rights that the server has to offer."""

    @property
    def pid(self) -> int:
        return self._running().pid

    async def start(self) -> str:
        """Starts the server and returns its URL once it is ready.

        Raises:
            OperatorError: the server did not start; of the class `failure`.
            FolderInUse: another server still works in the folder.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        for attempt in range(1, ATTEMPTS + 1):
            self._port = self._port or free_port()
            lock = await lock_folder(self._folder, ORPHAN_GONE_WITHIN)
            try:
                await self._prepare()
                if self._log_file is not None:
                    self._log_file.unlink(missing_ok=True)
                self._child = await self._launch(lock)
            finally:
                os.close(lock)
            if await self._became_ready(self._child):
                self._fixed_port = self._port  # clients know it from now on
                try:
                    await self._initialize(self._child)
                except BaseException:
                    self._child.kill()
                    await self._child.wait()
                    raise
                return self.url
            if attempt < ATTEMPTS and not self._fixed_port and self._port_was_taken():
                self._port = 0
                continue
            break
        raise self.failure(f"{self.name} did not start: {self._last_words()}")

    async def wait(self) -> int:
        """Waits until the server has ended."""
        return await self._running().wait()

    async def stop(self) -> None:
        """Stops the server gracefully; open connections are closed."""
        if self._child is not None:
            await self._child.stop(self.stop_signal, self.stop_within)

    def kill(self) -> None:
        self._running().kill()

    @abstractmethod
    async def _prepare(self) -> None:
        """Makes the folder ready for a launch. The folder is locked: no other server runs in it."""

    @abstractmethod
    async def _launch(self, lock: int) -> Child:
        """Starts the process, which inherits the descriptor that locks the folder."""

    @abstractmethod
    async def _is_ready(self, child: Child) -> bool:
        """Whether this server, and no other process on its port, answers."""

    @abstractmethod
    async def _initialize(self, child: Child) -> None:
        """Sets up what the running server needs, before any client uses it."""

    def _running(self) -> Child:
        if self._child is None:
            raise self.failure(f"{self.name} was not started")
        return self._child

    async def _became_ready(self, child: Child) -> bool:
        try:
            async with asyncio.timeout(self.ready_within):
                while child.exit_code is None:
                    if await self._is_ready(child):
                        return True
                    await asyncio.sleep(_POLL)
        except TimeoutError:
            pass
        except BaseException:
            child.kill()
            await child.wait()
            raise
        child.kill()
        await child.wait()
        return False

    def _port_was_taken(self) -> bool:
        return any(self.port_taken in line for line in self._output())

    def _last_words(self) -> str:
        lines = self._output()
        fatal = [line for line in lines if any(mark in line for mark in self.fatal)]
        return (fatal or lines or ["it said nothing"])[-1]

    def _output(self) -> list[str]:
        if self._log_file is not None and self._log_file.exists():
            return self._log_file.read_text(errors="replace").splitlines()
        return self._child.latest_lines if self._child is not None else []
