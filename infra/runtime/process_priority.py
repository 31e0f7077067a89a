"""Work that may take as long as it likes, beside processes that people wait for.

Where Linux schedules by sessions (`sched_autogroup_enabled`, which is on wherever nothing else has put processes into
groups) niceness is a word between the processes of one session alone. So a session that is the work's own is told too.
"""

import os
from contextlib import suppress
from pathlib import Path

# On a machine that is full this leaves about a tenth of a core to the work, and on an idle one all of it.
_NICENESS = 10
_SESSION = Path("/proc/self/autogroup")


def lower_priority() -> None:
    """From now on this process has its turn on the processor behind those of ordinary ones."""
    os.nice(_NICENESS)
    if os.getsid(0) == os.getpid():
        # In any other session there is a shell at least, whose commands are not to be slowed with this one.
        with suppress(OSError):  # not every kernel knows sessions, and no work fails for the want of it
            _SESSION.write_text(str(_NICENESS))
