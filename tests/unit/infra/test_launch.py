"""What a child process is given before it becomes its program."""

import os
import signal
import sys

import pytest

from infra.embedded.child import Child


@pytest.mark.skipif(not hasattr(os, "SCHED_BATCH"), reason="only Linux knows processes that wait for their turn")
async def test_a_process_of_the_system_does_not_push_aside_who_has_woken_it() -> None:
    asked = [sys.executable, "-c", "import os; print(os.sched_getscheduler(0) == os.SCHED_BATCH)"]
    child = await Child.start(asked, death_signal=signal.SIGKILL)
    assert await child.wait() == 0
    assert child.latest_lines == ["True"]
