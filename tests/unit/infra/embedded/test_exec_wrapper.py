"""What is set for a child process before it becomes its program."""

import os
import signal
import subprocess
import sys

import pytest

from infra.embedded.child_process import Child

_ON_LINUX = pytest.mark.skipif(
    not hasattr(os, "SCHED_BATCH"), reason="only Linux knows processes that wait for their turn"
)
_CHOSEN = """
import os
from infra.embedded.exec_wrapper import wait_for_turns
os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
wait_for_turns()
print(os.sched_getscheduler(0) == os.SCHED_IDLE)
"""


@_ON_LINUX
async def test_a_process_of_the_system_runs_under_sched_batch() -> None:
    command = [sys.executable, "-c", "import os; print(os.sched_getscheduler(0) == os.SCHED_BATCH)"]
    child = await Child.start(command, death_signal=signal.SIGKILL)
    assert await child.wait() == 0
    assert child.latest_lines == ["True"]


@_ON_LINUX
def test_a_chosen_policy_is_kept() -> None:
    assert subprocess.run([sys.executable, "-c", _CHOSEN], capture_output=True, text=True).stdout == "True\n"
