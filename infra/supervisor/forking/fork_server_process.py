"""The process that services are forked from: it has imported what they share, and does nothing else.

Importing takes a process a third of a second of processor time and 45 MiB; forked processes share these pages until
they write to them. This process has one thread and no event loop, so it may fork at any time.

    python -m infra.supervisor.forking.fork_server_process CONTROL

CONTROL is the descriptor of a socket whose other end fork_server.py has. A request is its length (4 bytes), then JSON,
with the descriptors of a `Fork` beside; a report is a line of JSON. A process that has ended stays a zombie until the
supervisor knows of it (`Reap`), so that the supervisor never signals a process that has got the pid since.
"""

import gc
import importlib
import os
import select
import signal
import socket
import sys

import msgspec
from setproctitle import setproctitle

from infra.embedded.exec_wrapper import die_with

# Modules that several services import; what one service alone needs is imported by its processes.
SHARED = (
    "infra.cli.errors",
    "infra.cli.system.serve",
    "infra.logs.log_setup",
    "infra.runtime.service_process",
    "infra.supervisor.heartbeat",
    "infra.telemetry.process_tracing",
    "projections.registry",
    "starlette.applications",
    "starlette.middleware.cors",
    "starlette.routing",
    "streams.repository",
    "uvicorn.protocols.http.httptools_impl",
    "uvicorn.protocols.websockets.websockets_sansio_impl",
    "uvloop",
)
LENGTH_BYTES = 4
_MOST_DESCRIPTORS = 16


class Fork(msgspec.Struct, tag=True):
    """Starts a process of a service. With the request come the descriptors of its output, then those that are named."""

    service: str
    # Added to this process's environment.
    environment: dict[str, str]
    # The variables that tell the process the numbers of its descriptors, in their order.
    descriptors: list[str]


class Reap(msgspec.Struct, tag=True):
    """The supervisor knows that the process has ended."""

    pid: int


class Forked(msgspec.Struct, tag=True):
    pid: int


class Ended(msgspec.Struct, tag=True):
    pid: int
    # Negative: the signal that ended it.
    code: int


def main() -> None:
    setproctitle("vestnik fork-server")
    control = socket.socket(fileno=int(sys.argv[1]))
    for name in SHARED:
        importlib.import_module(name)
    # Neither this process nor those that it forks look at these objects again.
    gc.collect()
    gc.freeze()
    service = _ForkServer(control).run()
    if service is not None:
        sys.argv = ["vestnik", "serve", service]
        importlib.import_module("infra.cli.main").main()


class _ForkServer:
    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._living: set[int] = set()
        # A byte for each signal.
        self._wakeup, self._wakeup_writer = socket.socketpair()

    def run(self) -> str | None:
        """Serves requests until the supervisor is gone, then returns None.

        In a forked process it returns the name of the service.
        """
        self._wakeup_writer.setblocking(False)
        signal.set_wakeup_fd(self._wakeup_writer.fileno())
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        while True:
            ready, _, _ = select.select([self._control, self._wakeup], [], [])
            if self._wakeup in ready:
                self._wakeup.recv(4096)
                self._report_ended()
            if self._control in ready:
                request, descriptors = self._receive()
                if request is None:
                    return None
                if isinstance(request, Reap):
                    os.waitpid(request.pid, 0)
                elif self._fork(request, descriptors):
                    return request.service

    def _receive(self) -> tuple[Fork | Reap | None, list[int]]:
        """The next request and its descriptors; None if the supervisor is gone."""
        length, descriptors, _, _ = socket.recv_fds(self._control, LENGTH_BYTES, _MOST_DESCRIPTORS)
        if not length:
            return None, []
        content = b""
        size = int.from_bytes(length, "big")
        while len(content) < size:
            content += self._control.recv(size - len(content))
        request: Fork | Reap = msgspec.json.decode(content, type=Fork | Reap)
        return request, descriptors

    def _fork(self, request: Fork, descriptors: list[int]) -> bool:
        """Returns True in the new process."""
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._begin_process(parent, request, descriptors)
            return True
        for descriptor in descriptors:
            os.close(descriptor)
        self._living.add(pid)
        self._send(Forked(pid))
        return False

    def _begin_process(self, parent: int, request: Fork, descriptors: list[int]) -> None:
        os.setpgid(0, 0)  # Ctrl-C in a terminal reaches only the supervisor
        # SIGKILL when this server or its supervisor dies: it loses nothing that was acknowledged.
        die_with(parent, signal.SIGKILL)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for used_by_the_server in (self._control, self._wakeup, self._wakeup_writer):
            used_by_the_server.close()
        output, *named = descriptors
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.close(output)
        numbers = {name: str(number) for name, number in zip(request.descriptors, named, strict=True)}
        os.environ.update({**request.environment, **numbers})
        setproctitle(f"vestnik serve {request.service}")

    def _report_ended(self) -> None:
        for pid in sorted(self._living):
            state = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if state is not None:
                self._living.remove(pid)
                exited = state.si_code == os.CLD_EXITED
                self._send(Ended(pid, state.si_status if exited else -state.si_status))

    def _send(self, report: Forked | Ended) -> None:
        self._control.sendall(msgspec.json.encode(report) + b"\n")


if __name__ == "__main__":
    main()
