"""Faults of clocks: the wall clock of our own services jumps.

libfaketime answers programs that ask libc; NATS asks the kernel, so its clock cannot jump here. The monotonic clock is
the kernel's.
"""

from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Self

from tests.faults.nemesis.fault import GATEWAY, Acting, Fault, Hosts, ours
from tests.faults.nemesis.target import Target

# Of Debian's package; the one for programs with threads.
LIBRARY = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")
# Where a host finds the offset of its clock.
_MOUNTED = Path("/run/vestnik/clock")
_FILE = "offset"
_TRUE = "+0"


def variables(folder: Path) -> dict[str, str]:
    """The environment of a program whose clock may jump, with the folder that holds the offset."""
    return {
        "LD_PRELOAD": str(LIBRARY),
        "FAKETIME_TIMESTAMP_FILE": str(folder / _FILE),
        # Seconds that the library keeps an offset.
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
    }


class ClockJump(Fault, frozen=True, tag="clock_jump"):
    """The clocks of some of our processes jump by minutes, and jump back."""

    title = "clocks of services jump by minutes, both ways"
    needs_clocks = True
    # Positive: into the future.
    offset: int

    @classmethod
    def draw(cls, chance: Random, hosts: Hosts) -> Self:
        offset = chance.choice([-1, 1]) * chance.choice([60, 300, 900])
        name = chance.choice(ours(hosts))
        kinds = {GATEWAY: hosts[GATEWAY], "all": ours(hosts), "one": [name]}
        chosen = kinds[chance.choice([*kinds])]
        return cls(seconds=chance.randint(5, 30), hosts=tuple(chosen), offset=offset)

    # Hosts whose clocks differ by minutes refuse each other's tokens.
    outage = True

    @asynccontextmanager
    async def acting(self, target: Target) -> Acting:
        try:
            for name in self.hosts:
                set_offset(target.clock(name), f"{self.offset:+d}")
            yield self.hosts
        finally:
            for name in self.hosts:
                set_offset(target.clock(name), _TRUE)


def add_clock(target: Target, name: str) -> None:
    """Gives the program of a host, which is not started yet, a clock that can jump."""
    set_offset(target.clock(name), _TRUE)
    target.cluster.add(name, variables(_MOUNTED), (str(target.clock(name)), str(_MOUNTED), True))


def set_offset(folder: Path, offset: str) -> None:
    """Writes the offset of a clock in seconds into its folder, which the library sees within a second."""
    folder.mkdir(exist_ok=True)
    folder.chmod(0o755)
    (folder / _FILE).write_text(f"{offset}\n")
