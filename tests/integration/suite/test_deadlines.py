"""A test that waits forever fails and says where it waits, and the run goes on."""

import asyncio
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.integration.suite.nested_run import ENVIRONMENT, INI
from tests.suite import deadlines
from tests.suite.deadlines import bounded

WITHIN = 120.0
CONFTEST = """
from tests.suite import deadlines

deadlines.WITHIN = deadlines.GRACE = deadlines.EXIT_WITHIN = 3.0
"""
# No signal reaches the test, as in a call of a library that does not return.
DEAF = """
import signal, threading

def test_deaf():
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
    threading.Event().wait()

def test_good(): pass
"""
ENDLESS_THREAD = """
import threading

def test_good():
    threading.Thread(target=threading.Event().wait, name="endless").start()
"""


def run(folder: Path, tests: str, *arguments: str) -> tuple[int, str]:
    """Runs the suite that consists of these tests: the exit code and the output."""
    (folder / "pytest.ini").write_text(f"{INI.rstrip()} -p tests.suite.deadlines\n")
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_small.py").write_text(tests)
    done = subprocess.run(
        [sys.executable, "-m", "tests.suite", *arguments],
        cwd=folder,
        env={**os.environ, **ENVIRONMENT},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=WITHIN,
        check=False,
    )
    return done.returncode, done.stdout


def test_a_wait_that_never_ends_fails_with_the_stacks_of_all_tasks_and_threads() -> None:
    async def wait_for_ever() -> None:
        await asyncio.Event().wait()

    async def call() -> None:
        await wait_for_ever()

    go_on = threading.Event()
    thread = threading.Thread(target=go_on.wait, name="other thread")
    thread.start()
    try:
        with pytest.raises(pytest.fail.Exception) as raised, bounded("the test", within=0.1):
            asyncio.run(call())
    finally:
        go_on.set()
        thread.join(WITHIN)
    message = str(raised.value)
    assert message.startswith("the test did not end within 0 s.")
    assert f'{__file__}", line ' in message
    innermost_last = ("<locals>.call\n", "<locals>.wait_for_ever\n", "in Event.wait\n", "thread other thread:")
    assert sorted(innermost_last, key=message.index) == list(innermost_last)


def test_a_failure_that_is_swallowed_is_raised_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadlines, "AGAIN", 0.1)
    swallowed: list[BaseException] = []

    def swallow() -> None:
        try:
            threading.Event().wait(WITHIN)
        except BaseException as failure:
            swallowed.append(failure)
        threading.Event().wait(WITHIN)

    with pytest.raises(pytest.fail.Exception), bounded("the test", within=0.1):
        swallow()
    assert len(swallowed) == 1


def test_what_ends_in_time_is_not_interrupted_later() -> None:
    with bounded("the test", within=0.1):
        pass
    assert not threading.Event().wait(0.2)


def test_a_test_that_no_signal_reaches_ends_its_worker_alone(tmp_path: Path) -> None:
    code, output = run(tmp_path, DEAF, "-n", "2")
    assert code == 1, output
    assert "FAILED test_small.py::test_deaf" in output
    assert "1 failed, 1 passed" in output.rstrip().rpartition("\n")[2]
    assert 'test_small.py", line 6 in test_deaf' in output


def test_a_process_whose_threads_do_not_end_is_ended(tmp_path: Path) -> None:
    code, output = run(tmp_path, ENDLESS_THREAD, "-n", "0")
    assert code != 0, output
    assert "1 passed" in output
    assert "Timeout (0:00:03)!" in output
