"""A run of `./just test` that is killed, at each of its parts: no process is left, and so no port."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fix_system import wait_until
from tests.integration.suite.nested_run import ENVIRONMENT, INI
from tests.processes import Process, family

WITHIN = 200.0
# Starts what survives its parent most stubbornly, and a server as the suite starts it.
TESTS = """
import asyncio, pathlib, subprocess, sys, time
from infra.embedded.nats_server import NatsServer

STUBBORN = '''
import signal, socket, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
listener = socket.create_server(("127.0.0.1", 0))
time.sleep(1000)
'''

def test_hangs(tmp_path):
    number = pathlib.Path(__file__).stem[-1]
    async def hang():
        server = NatsServer(tmp_path / "nats")
        await server.start()
        program = ["/bin/sh", "-c", '"$0" -c "$1" > /dev/null & echo $!', sys.executable, STUBBORN]
        started = subprocess.run(program, start_new_session=True, stdout=subprocess.PIPE, text=True)
        pids = f"{server.pid} {started.stdout}"
        pathlib.Path(f"pids-{number}").write_text(pids)
        await asyncio.sleep(1000)
    asyncio.run(hang())
"""


class Run:
    """A run whose tests hang; its parent is a shell."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / "pytest.ini").write_text(INI)
        for number in range(2):
            (folder / f"test_hanging_{number}.py").write_text(TESTS)
        ours = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # that of nohup would be inherited
        with (folder / "log").open("wb") as log:
            self.shell = subprocess.Popen(
                ["/bin/sh", "-c", '"$0" -m tests.suite -n 2; echo "code $?"', sys.executable],
                cwd=folder,
                env={**os.environ, **ENVIRONMENT},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                process_group=0,
            )
        signal.signal(signal.SIGHUP, ours)
        self.everything: set[Process] = set()

    @property
    def log(self) -> str:
        return (self._folder / "log").read_text()

    def wait_until_it_hangs(self) -> None:
        files = [self._folder / f"pids-{number}" for number in range(2)]
        wait_until(lambda: all(file.exists() for file in files), "both tests at work", within=WITHIN)
        self.everything = family(self.shell.pid)
        pids = {process.pid for process in self.everything}
        for file in files:
            wait_until(lambda: len(file.read_text().split()) == 2, "the pids of its processes", within=WITHIN)  # noqa: B023
            assert {int(pid) for pid in file.read_text().split()} <= pids

    def part(self, module: str) -> Process:
        """The process that Python runs this module in."""
        (process,) = (candidate for candidate in self.everything if candidate.command[1:3] == ["-m", module])
        return process

    def left(self) -> list[list[str]]:
        return [process.command for process in self.everything if process.alive]

    def end(self) -> None:
        for process in self.everything | family(self.shell.pid):
            process.kill()
        self.shell.wait()


@pytest.fixture
def hanging(tmp_path: Path) -> Iterator[Run]:
    run = Run(tmp_path)
    try:
        run.wait_until_it_hangs()
        yield run
    finally:
        run.end()


def kill(run: Run, how: str) -> None:
    match how:
        case "ctrl-c":
            os.killpg(run.shell.pid, signal.SIGINT)
        case "sigterm":
            run.part("tests.suite").send(signal.SIGTERM)
        case "its parent killed":
            run.shell.kill()
        case "runner killed":
            run.part("tests.suite").kill()
        case "keeper killed":
            run.part("tests.suite.contained").kill()
        case "controller killed":
            run.part("pytest").kill()
        case "whole group killed":
            os.killpg(run.shell.pid, signal.SIGKILL)


@pytest.mark.parametrize(
    "how",
    [
        "ctrl-c",
        "sigterm",
        "its parent killed",
        "runner killed",
        "keeper killed",
        "controller killed",
        "whole group killed",
    ],
)
def test_a_killed_run_leaves_no_process(hanging: Run, how: str) -> None:
    kill(hanging, how)
    wait_until(lambda: not hanging.left(), f"{how}: every process ended", within=WITHIN)
    code = {"sigterm": 143, "keeper killed": 137, "controller killed": 137, "runner killed": 137}.get(how)
    if code is not None:
        wait_until(lambda: f"code {code}\n" in hanging.log, f"exit code {code}", within=WITHIN)
    if how == "its parent killed":
        assert "its parent process has ended" in hanging.log
