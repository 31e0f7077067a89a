"""Background work runs at a lower priority: its process, and its session where it has one of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

AUTOGROUP = Path("/proc/self/autogroup")
AUTOGROUP_ENABLED = Path("/proc/sys/kernel/sched_autogroup_enabled")
PRINT_NICENESS = """
import os
from infra.cli.process_priority import lower_priority
lower_priority()
print(os.getpriority(os.PRIO_PROCESS, 0))
"""
PRINT_BOTH = f"{PRINT_NICENESS}print(open('{AUTOGROUP}').read().split()[-1])\n"


def lowered_niceness() -> str:
    """The niceness 10 above that of the tests, which may be nice themselves; 19 is the most."""
    return str(min(os.getpriority(os.PRIO_PROCESS, 0) + 10, 19))


def priorities_after(program: str, *, own_session: bool) -> list[str]:
    completed = subprocess.run(
        [sys.executable, "-c", program], start_new_session=own_session, capture_output=True, text=True, check=True
    )
    return completed.stdout.split()


def test_the_process_is_nicer_than_before() -> None:
    assert priorities_after(PRINT_NICENESS, own_session=False) == [lowered_niceness()]


@pytest.mark.skipif(
    not AUTOGROUP_ENABLED.exists() or AUTOGROUP_ENABLED.read_text().strip() != "1",
    reason="this kernel schedules by processes",
)
def test_a_session_of_its_own_is_nicer_too_and_that_of_others_is_left_as_it_is() -> None:
    autogroup = AUTOGROUP.read_text()  # empty if no session has started since boot
    assert priorities_after(PRINT_BOTH, own_session=True) == [lowered_niceness(), "10"]
    assert priorities_after(PRINT_NICENESS, own_session=False) == [lowered_niceness()]
    assert AUTOGROUP.read_text() == autogroup
