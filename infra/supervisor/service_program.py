"""A service's process as a supervised program; one that hangs is ended, so that it is started again."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from infra.embedded.child_process import Child, OnLine
from infra.operator_errors import OperatorError
from infra.supervisor.liveness import wait_until_hung
from infra.supervisor.reported_task import start_reported

BEYOND_DRAIN = 5.0
# Seconds for a process that hangs to write where its threads are.
_STACKS_SECONDS = 1.0


# Starts a process of a service: with its name, its settings as environment variables, the descriptors that it inherits
# by the variables that tell it their numbers, and the receiver of its output.
StartProcess = Callable[[str, Mapping[str, str], Mapping[str, int], OnLine], Awaitable[Child]]


class ServiceProgram:
    """One process of a service: the same environment and port every time it is started."""

    def __init__(
        self,
        start_process: StartProcess,
        service: str,
        environment: Mapping[str, str],
        on_line: OnLine,
        *,
        drain_seconds: float,
        descriptors: Mapping[str, int] | None = None,
        hang_seconds: float = 0.0,
        on_hang: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`hang_seconds`: after which it is ended if its event loop does not turn; 0: never.

        `on_hang`: called with the reason, or with the error if it can no longer be watched.
        """
        self._start = partial(start_process, service, environment)
        self._on_line = on_line
        self._patience = drain_seconds + BEYOND_DRAIN
        self._descriptors = descriptors or {}
        self._hang_seconds = hang_seconds
        self._on_hang = on_hang
        self._child: Child | None = None
        # Where its heartbeats arrive.
        self._heartbeats = -1

    @property
    def pid(self) -> int:
        return self._running().pid

    async def start(self) -> None:
        self._close_heartbeats()
        self._heartbeats, heartbeat_end = os.pipe()
        os.set_blocking(self._heartbeats, False)
        try:
            descriptors = {**self._descriptors, "VESTNIK_HEARTBEAT_FD": heartbeat_end}
            self._child = await self._start(descriptors, self._on_line)
        finally:
            os.close(heartbeat_end)

    async def wait(self) -> int:
        child = self._running()
        watching = (
            start_reported(self._end_if_hung(child), "watch for a hang", self._on_hang) if self._hang_seconds else None
        )
        try:
            return await child.wait()
        finally:
            if watching is not None:
                watching.cancel()
                await asyncio.gather(watching, return_exceptions=True)
            self._close_heartbeats()

    async def _end_if_hung(self, child: Child) -> None:
        reason = await wait_until_hung(child.pid, self._heartbeats, self._hang_seconds)
        self._on_hang(f"{reason}: ending it")
        # Unless it is stopped, it writes the stacks of its threads.
        child.send(signal.SIGABRT)
        await asyncio.sleep(_STACKS_SECONDS)
        child.kill()

    def _close_heartbeats(self) -> None:
        if self._heartbeats >= 0:
            os.close(self._heartbeats)
            self._heartbeats = -1

    async def stop(self) -> None:
        await self._running().stop(signal.SIGTERM, self._patience)

    def kill(self) -> None:
        self._running().kill()

    def _running(self) -> Child:
        if self._child is None:
            raise OperatorError("the process was not started")
        return self._child
