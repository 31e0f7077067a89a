"""The supervisor's side of the process that services are forked from (fork_server_process.py)."""

import asyncio
import os
import signal
import socket
import sys
from collections import deque
from collections.abc import Mapping, Sequence

import msgspec

from infra.embedded.child_process import Child, OnLine
from infra.operator_errors import OperatorError
from infra.supervisor.forking.fork_server_process import LENGTH_BYTES, Ended, Fork, Forked, Reap

# Seconds: for a new fork server to import what the services share, and to fork.
_START_WITHIN = 60.0
# Seconds for it to end once it was asked to.
_STOP_WITHIN = 5.0


class ForkedProcess:
    """A process that the fork server has started: what `asyncio.subprocess.Process` is for one of our own."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._ended = asyncio.Event()

    async def wait(self) -> int:
        await self._ended.wait()
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        # Until `returncode` is set the pid is its own, at least as a zombie.
        if self.returncode is None:
            os.kill(self.pid, number)

    def end(self, code: int) -> None:
        self.returncode = code
        self._ended.set()


class ForkServer:
    """A program to supervise, which starts the processes of the services. They end with it."""

    def __init__(self, on_line: OnLine) -> None:
        self._on_line = on_line
        self._child: Child | None = None
        self._control: socket.socket | None = None
        self._started = asyncio.Event()
        self._unread = b""
        # Of the requests without an answer, in their order.
        self._answers: deque[asyncio.Future[ForkedProcess]] = deque()
        self._processes: dict[int, ForkedProcess] = {}

    @property
    def pid(self) -> int:
        return self._running().pid

    async def start(self) -> None:
        self._control, other_end = socket.socketpair()
        with other_end:
            self._control.setblocking(False)
            command = [sys.executable, "-m", "infra.supervisor.forking.fork_server_process", str(other_end.fileno())]
            # Each process gets all settings of its own; this environment is theirs to read as long as they run.
            environ = {name: value for name, value in os.environ.items() if not name.startswith("VESTNIK_")}
            self._child = await Child.start(
                command,
                death_signal=signal.SIGKILL,
                environ=environ,
                on_line=self._on_line,
                descriptors=[other_end.fileno()],
            )
        self._unread = b""
        asyncio.get_running_loop().add_reader(self._control, self._read)
        self._started.set()

    async def wait(self) -> int:
        code = await self._running().wait()
        self._disconnect()
        return code

    async def stop(self) -> None:
        """Ends it; processes that still run are killed."""
        self._disconnect()
        try:
            async with asyncio.timeout(_STOP_WITHIN):
                await self._running().wait()
        except TimeoutError:
            self.kill()

    def kill(self) -> None:
        self._running().kill()

    async def start_process(
        self, service: str, environment: Mapping[str, str], descriptors: Mapping[str, int], on_line: OnLine
    ) -> Child:
        """Starts a process of a service.

        `environment`: its settings, in addition to this process's environment without settings.
        `descriptors`: open files that it inherits, by the environment variable that gets their number.

        Raises:
            OperatorError: the fork server does not run, or ended meanwhile.
        """
        reading_end, writing_end = os.pipe()
        try:
            try:
                process = await self._fork(service, environment, {"": writing_end, **descriptors})
            finally:
                os.close(writing_end)
        except BaseException:
            os.close(reading_end)
            raise
        return await Child.attach(process, reading_end, on_line)

    async def _fork(
        self, service: str, environment: Mapping[str, str], descriptors: Mapping[str, int]
    ) -> ForkedProcess:
        request = Fork(service, dict(environment), [name for name in descriptors if name])
        try:
            async with asyncio.timeout(_START_WITHIN):
                await self._started.wait()
                self._send(request, list(descriptors.values()))
                answer: asyncio.Future[ForkedProcess] = asyncio.get_running_loop().create_future()
                self._answers.append(answer)
                return await answer
        except (OSError, TimeoutError) as error:
            raise OperatorError(f"{service} could not be forked: {str(error) or 'no answer'}") from error

    def _send(self, request: Fork | Reap, descriptors: Sequence[int] = ()) -> None:
        assert self._control is not None
        content = msgspec.json.encode(request)
        message = len(content).to_bytes(LENGTH_BYTES, "big") + content
        if socket.send_fds(self._control, [message], descriptors) < len(message):
            # It has not read for long; the rest of a request cannot follow.
            self.kill()
            raise BlockingIOError("the fork server does not read")

    def _read(self) -> None:
        assert self._control is not None
        try:
            received = self._control.recv(65_536)
        except BlockingIOError:
            return
        except ConnectionError:
            received = b""
        if not received:
            self._disconnect()
            return
        *lines, self._unread = (self._unread + received).split(b"\n")
        for line in lines:
            report: Forked | Ended = msgspec.json.decode(line, type=Forked | Ended)
            if isinstance(report, Forked):
                process = self._processes[report.pid] = ForkedProcess(report.pid)
                answer = self._answers.popleft()
                if answer.done():
                    # Its caller was cancelled.
                    process.send_signal(signal.SIGKILL)
                else:
                    answer.set_result(process)
            else:
                self._processes.pop(report.pid).end(report.code)
                self._send(Reap(report.pid))

    def _disconnect(self) -> None:
        """Closes the connection, and marks all forked processes as ended: they end with the fork server."""
        if self._control is None:
            return
        asyncio.get_running_loop().remove_reader(self._control)
        self._control.close()
        self._control = None
        self._started.clear()
        for answer in self._answers:
            if not answer.done():
                answer.set_exception(ConnectionError("the fork server has ended"))
        self._answers.clear()
        for process in self._processes.values():
            process.end(-signal.SIGKILL)
        self._processes.clear()

    def _running(self) -> Child:
        if self._child is None:
            raise OperatorError("the process was not started")
        return self._child
