"""Lowers the CPU priority of background work below that of interactive processes.

Where Linux schedules by session (`sched_autogroup_enabled`, which takes effect where processes are in no other group),
niceness only applies between the processes of one session. So if the session belongs to this process alone, its
niceness is set too.
"""

import os
from contextlib import suppress
from pathlib import Path

# Leaves the work about a tenth of a core on a fully loaded machine, and all of it on an idle one.
_NICENESS = 10
_SESSION = Path("/proc/self/autogroup")


def lower_priority() -> None:
    """Lowers this process's CPU priority below that of ordinary processes."""
    os.nice(_NICENESS)
    if os.getsid(0) == os.getpid():
        # Any other session has at least a shell in it, whose commands must not be slowed down too.
        with suppress(OSError):  # not every kernel has session scheduling, and the work can do without it
            _SESSION.write_text(str(_NICENESS))
