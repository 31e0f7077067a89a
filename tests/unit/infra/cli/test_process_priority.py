"""Work in the background has its turn behind others: as a process, and as a session where it has one of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

_SESSION = Path("/proc/self/autogroup")
_BY_SESSIONS = Path("/proc/sys/kernel/sched_autogroup_enabled")
_SAYS = """
import os
from infra.cli.process_priority import lower_priority
lower_priority()
print(os.getpriority(os.PRIO_PROCESS, 0))
"""
_SAYS_OF_THE_SESSION = f"{_SAYS}print(open('{_SESSION}').read().split()[-1])\n"


def _lowered() -> str:
    """The niceness 10 above that of the tests, which may be nice themselves; 19 is the most."""
    return str(min(os.getpriority(os.PRIO_PROCESS, 0) + 10, 19))


def _given_way(says: str, *, own_session: bool) -> list[str]:
    completed = subprocess.run(
        [sys.executable, "-c", says], start_new_session=own_session, capture_output=True, text=True, check=True
    )
    return completed.stdout.split()


def test_the_process_is_nicer_than_before() -> None:
    assert _given_way(_SAYS, own_session=False) == [_lowered()]


@pytest.mark.skipif(
    not _BY_SESSIONS.exists() or _BY_SESSIONS.read_text().strip() != "1", reason="this kernel schedules by processes"
)
def test_a_session_of_its_own_is_nicer_too_and_that_of_others_is_left_as_it_is() -> None:
    autogroup = _SESSION.read_text()  # nothing at all where no one has begun a session since the machine started
    assert _given_way(_SAYS_OF_THE_SESSION, own_session=True) == [_lowered(), "10"]
    assert _given_way(_SAYS, own_session=False) == [_lowered()]
    assert _SESSION.read_text() == autogroup
