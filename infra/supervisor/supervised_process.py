"""Supervises one program: starts it, and restarts it with backoff whenever it ends."""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

from infra.operator_errors import OperatorError
from infra.supervisor.log_console import Console
from infra.supervisor.restart_backoff import Backoff

GIVE_UP_AFTER = 5
LOOK_AGAIN_AFTER = 0.05


class Program(Protocol):
    """A program to supervise: a service's process or an embedded server. All but `kill` may be called repeatedly."""

    @property
    def pid(self) -> int: ...

    async def start(self) -> object:
        """Starts it; raises an OperatorError if it cannot start."""

    async def wait(self) -> int:
        """Waits until it ends and returns the exit code; negative: the signal that ended it."""

    async def stop(self) -> None:
        """Stops it gracefully, within a time limit."""

    def kill(self) -> None: ...


class NeverReady(OperatorError):
    """A program ended too often before it was ready for the first time."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} does not start; see its last log lines above")


class Supervised:
    """Keeps one program running until `stop`."""

    def __init__(self, name: str, program: Program, ready: Callable[[], Awaitable[bool]], console: Console) -> None:
        self.name = name
        self._program = program
        self._ready = ready
        self._console = console
        self._stopping = asyncio.Event()
        self._alive = False
        self._was_ready = False
        self.supervision: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        return self._program.pid if self._alive else None

    def start(self) -> None:
        self.supervision = asyncio.create_task(self._run(), name=f"supervising {self.name}")

    async def became_ready(self) -> None:
        """Waits until the program is ready.

        Raises:
            NeverReady: it ended too often before it was ready.
            OperatorError: it cannot start at all.
        """
        while not (self._alive and await self._ready()):
            if self.supervision is not None and self.supervision.done():
                await self.supervision
                raise NeverReady(self.name)
            await asyncio.sleep(LOOK_AGAIN_AFTER)
        self._was_ready = True

    async def stop(self) -> None:
        """Stops the program gracefully and does not restart it."""
        self._stopping.set()
        if self._alive:
            await self._program.stop()
        if self.supervision is not None:
            await asyncio.wait([self.supervision])

    def kill(self) -> None:
        self._stopping.set()
        if self._alive:
            self._program.kill()
        elif self.supervision is not None:
            self.supervision.cancel()

    async def _run(self) -> None:
        backoff = Backoff()
        while not self._stopping.is_set():
            started = time.monotonic()
            reason = await self._run_once()
            if self._stopping.is_set():
                return
            pause = backoff.after(time.monotonic() - started)
            if not self._was_ready and backoff.quick_ends >= GIVE_UP_AFTER:
                self._console.line(self.name, reason, "ERROR")
                raise NeverReady(self.name)
            self._console.line(self.name, f"{reason}; restarting in {pause:.1f} s", "WARNING")
            await self._pause(pause)

    async def _run_once(self) -> str:
        """Runs the program until it ends; returns a description of its end."""
        try:
            await self._program.start()
        except (OperatorError, OSError) as failure:
            # Such as a full disk or a lack of descriptors, which may pass: the rest of the system runs on.
            if not self._was_ready:
                raise
            return str(failure) or repr(failure)
        self._alive = True
        try:
            if self._stopping.is_set():
                await self._program.stop()
            return describe_end(await self._program.wait())
        finally:
            self._alive = False

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return


def describe_end(code: int) -> str:
    if code < 0:
        try:
            return f"was ended by {signal.Signals(-code).name}"
        except ValueError:
            # Most of the real-time signals have no name.
            return f"was ended by signal {-code}"
    return f"ended with exit code {code}"
