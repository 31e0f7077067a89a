"""Runs `vestnik` commands in processes that are forked from one which has imported their modules.

Importing takes a command more than half a second of processor time, and the tests run hundreds of commands. Each is
still a process of its own, which begins as `python -m infra.cli.main` does: with its own arguments and environment.

    python -m tests.command_server CONTROL

CONTROL is the descriptor of a socket whose other end the tests have. A request is one message of JSON, and beside it
three descriptors: the process's output and error output, and a socket that gets its exit code.
"""

import atexit
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import click

ROOT = Path(__file__).parents[1]
_PROGRAM = "infra.cli.main"
_LARGEST = 1024 * 1024
# Modules that commands import while they run.
_LATER = ("infra.cli.errors", "infra.runtime.run_file", "infra.settings", "psycopg", "uvloop")
_starting = threading.Lock()


def run_command(
    arguments: Sequence[str], environment: Mapping[str, str], *, within: float
) -> subprocess.CompletedProcess[str]:
    """Runs a command of this tree to its end, in its root folder and without input.

    Raises:
        subprocess.TimeoutExpired: it has not ended within `within` seconds, and was killed.
    """
    # Not with msgspec: an argument may be no valid text.
    request = json.dumps([arguments, dict(environment)]).encode()
    with _starting:
        server = _server()
    parent_end, child_end = socket.socketpair()
    with parent_end, tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        with child_end:
            socket.send_fds(server, [request], [output.fileno(), errors.fileno(), child_end.fileno()])
        parent_end.settimeout(within)
        try:
            code = parent_end.recv(16)
        except TimeoutError as error:
            raise subprocess.TimeoutExpired(list(arguments), within) from error
        assert code, "the command server has ended"
        output.seek(0)
        errors.seek(0)
        return subprocess.CompletedProcess(list(arguments), int(code), output.read(), errors.read())


@cache
def _server() -> socket.socket:
    """The socket of this process's server, which ends with it."""
    parent_end, child_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with child_end:
        server = subprocess.Popen(
            [sys.executable, "-m", "tests.command_server", str(child_end.fileno())],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[child_end.fileno()],
        )

    def stop() -> None:
        parent_end.close()
        server.wait()

    atexit.register(stop)
    return parent_end


def main() -> None:
    control = socket.socket(fileno=int(sys.argv[1]))
    # Ctrl-C ends the tests, and with them this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _import_commands()
    # The kernel forgets the processes that have ended.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        content, descriptors, _, _ = socket.recv_fds(control, _LARGEST, 3)
        if not content:
            return
        if os.fork() == 0:
            control.close()
            _keep(*json.loads(content), *descriptors)
            return
        for descriptor in descriptors:
            os.close(descriptor)


def _import_commands() -> None:
    program = importlib.import_module(_PROGRAM)
    context = click.Context(program.cli)
    for name in program.COMMANDS:
        program.cli.get_command(context, name)
    for name in _LATER:
        importlib.import_module(name)
    # It starts again in each process.
    del sys.modules[_PROGRAM]
    gc.collect()
    gc.freeze()


def _keep(arguments: list[str], environment: dict[str, str], output: int, errors: int, connection: int) -> None:
    """Forks the command and reports its exit code; returns in the command's process, at its end."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    pid = os.fork()
    if pid == 0:
        os.close(connection)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.dup2(output, 1)
        os.dup2(errors, 2)
        os.close(output)
        os.close(errors)
        os.environ.clear()
        os.environ.update(environment)
        sys.argv = [_PROGRAM, *arguments]
        runpy.run_module(_PROGRAM, run_name="__main__", alter_sys=True)
        return
    running = os.pidfd_open(pid)
    ready, _, _ = select.select([running, connection], [], [])
    if running not in ready:
        os.kill(pid, signal.SIGKILL)  # the test that requested it no longer waits
    _, status = os.waitpid(pid, 0)
    with socket.socket(fileno=connection) as answer:
        answer.send(str(os.waitstatus_to_exitcode(status)).encode(), socket.MSG_NOSIGNAL)
    os._exit(0)


if __name__ == "__main__":
    main()
