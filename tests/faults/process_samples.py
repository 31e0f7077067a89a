"""What a process holds, read from /proc."""

import os
from pathlib import Path

from tests.faults.history import ProcessSample, now

_PAGE = os.sysconf("SC_PAGE_SIZE")


def take(name: str, pid: int) -> ProcessSample | None:
    """The memory and the open files of the process; None if it has ended."""
    try:
        resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
        open_files = len(os.listdir(f"/proc/{pid}/fd"))
    except (OSError, IndexError):
        return None
    return ProcessSample(process=name, pid=pid, at=now(), resident_bytes=resident, open_files=open_files)
