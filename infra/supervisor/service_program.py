"""A service's process as a supervised program."""

import signal
from collections.abc import Mapping, Sequence

from infra.embedded.child_process import Child, OnLine
from infra.operator_errors import OperatorError

BEYOND_DRAIN = 5.0


class ServiceProgram:
    """One process of a service: the same command, environment and port every time it is started."""

    def __init__(
        self,
        command: Sequence[str],
        environ: Mapping[str, str],
        on_line: OnLine,
        *,
        drain_seconds: float,
        descriptors: Sequence[int] = (),
    ) -> None:
        self._command = command
        self._environ = environ
        self._on_line = on_line
        self._patience = drain_seconds + BEYOND_DRAIN
        self._descriptors = descriptors
        self._child: Child | None = None

    @property
    def pid(self) -> int:
        return self._running().pid

    async def start(self) -> None:
        # SIGKILL when the supervisor dies: it loses nothing that was acknowledged, and no process is left over.
        self._child = await Child.start(
            self._command,
            death_signal=signal.SIGKILL,
            environ=self._environ,
            on_line=self._on_line,
            descriptors=self._descriptors,
        )

    async def wait(self) -> int:
        return await self._running().wait()

    async def stop(self) -> None:
        await self._running().stop(signal.SIGTERM, self._patience)

    def kill(self) -> None:
        self._running().kill()

    def _running(self) -> Child:
        if self._child is None:
            raise OperatorError("the process was not started")
        return self._child
