"""The wall clock of a running process jumps both ways, and its monotonic clock does not."""

import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from tests.faults.nemesis import clocks

# Prints both clocks for each line that it reads.
_PROGRAM = """
import json, sys, time
for line in sys.stdin:
    print(json.dumps([time.time(), time.monotonic()]), flush=True)
"""
# A process keeps an offset for a second.
_SEEN_WITHIN = 60.0


@pytest.mark.skipif(not clocks.LIBRARY.exists(), reason="this machine lacks the package faketime")
def test_a_running_process_sees_its_clock_jump(tmp_path: Path) -> None:
    clocks.set_offset(tmp_path, "+0")
    with subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=clocks.variables(tmp_path),
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def ahead() -> tuple[float, float]:
            """How far the process's two clocks are ahead of this process's."""
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write("\n")
            process.stdin.flush()
            wall, monotonic = msgspec.json.decode(process.stdout.readline(), type=tuple[float, float])
            return wall - time.time(), monotonic - time.monotonic()

        for offset in (0, 900, -900, 0):
            clocks.set_offset(tmp_path, f"{offset:+d}")
            until = time.monotonic() + _SEEN_WITHIN
            while abs(ahead()[0] - offset) > 60 and time.monotonic() < until:
                time.sleep(0.1)
            wall, monotonic = ahead()
            assert abs(wall - offset) < 60
            assert abs(monotonic) < 60
        process.stdin.close()
        assert process.wait() == 0
