"""A forked `vestnik` command does what the same command does as a program, and ends when its time is over."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.command_server import ROOT, run_command
from tests.fix_system import System, wait_until
from tests.processes import children, family


@pytest.mark.parametrize(
    "arguments",
    [
        ("settings", "--json"),
        ("status",),
        ("audit", "operators", "--no-such-option"),
        ("load", "missing \udcff.tsv"),
        ("--version",),
    ],
)
def test_a_forked_command_says_and_returns_what_the_program_does(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    environment = {**System(tmp_path / "data").environment, "VESTNIK_PUBLIC_URL": "https://chat.example.org"}
    forked = run_command(arguments, environment, within=60)
    program = subprocess.run(
        [sys.executable, "-m", "infra.cli.main", *arguments],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (forked.returncode, forked.stdout, forked.stderr) == (program.returncode, program.stdout, program.stderr)
    assert ("https://chat.example.org" in forked.stdout) == (arguments[0] == "settings")


def test_a_forked_command_is_killed_when_its_time_is_over(tmp_path: Path) -> None:
    environment = System(tmp_path / "data").environment
    assert run_command(("--version",), environment, within=60).returncode == 0
    (server,) = (child for child in children(os.getpid()) if "tests.command_server" in child.command)
    # Nobody writes to it.
    os.mkfifo(tmp_path / "history.tsv")
    with pytest.raises(subprocess.TimeoutExpired):
        run_command(("load", str(tmp_path / "history.tsv")), environment, within=1)
    wait_until(lambda: not [process for process in family(server.pid) - {server} if process.alive], "it is gone")
