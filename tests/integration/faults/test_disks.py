"""A full disk refuses what is written, keeps what is on it, and has room again; a slow one is slow for some."""

import errno
import os
import time
from pathlib import Path

import pytest

from tests.faults.nemesis import disks
from tests.faults.nemesis.disks import clear, full, mount_disk, slowed
from tests.integration.faults.own_namespaces import in_own_namespaces

pytestmark = pytest.mark.skipif(bool(disks.missing()), reason=f"this machine lacks {', '.join(disks.missing())}")
_CONTENT = bytes(100_000)


def test_a_disk_is_full_for_a_while(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir(mode=0o700)

    async def act() -> None:
        mount_disk(disk)
        assert disk.stat().st_mode & 0o777 == 0o700
        (disk / "before").write_bytes(_CONTENT)
        async with full(disk):
            with pytest.raises(OSError, match="No space left") as refused:
                (disk / "during").write_bytes(_CONTENT)
            assert refused.value.errno == errno.ENOSPC
            assert (disk / "before").read_bytes() == _CONTENT
        (disk / "after").write_bytes(_CONTENT)

    in_own_namespaces(act)
    # The file system was that of the thread alone.
    assert list(disk.iterdir()) == []


def test_a_disk_is_cleared_and_stays_a_file_system_of_its_own(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()

    async def act() -> None:
        mount_disk(disk)
        (disk / "folder").mkdir()
        (disk / "folder" / "file").write_bytes(_CONTENT)
        (disk / "file").write_bytes(_CONTENT)
        clear(disk)
        assert list(disk.iterdir()) == []
        async with full(disk):
            with pytest.raises(OSError, match="No space left"):
                (disk / "file").write_bytes(_CONTENT)

    in_own_namespaces(act)


def test_a_disk_is_slow_for_some_processes_for_a_while(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()

    def seconds() -> float:
        with (disk / "file").open("wb") as file:
            begun = time.monotonic()
            for _ in range(5):
                file.write(b"x")
                file.flush()
                os.fsync(file.fileno())
            return time.monotonic() - begun

    async def act() -> None:
        mount_disk(disk)
        async with slowed(disk, lambda: [os.getpid()], operations=2):
            assert seconds() > 1.5
        assert str(os.getpid()) in Path("/sys/fs/cgroup/blkio/cgroup.procs").read_text().split()

    in_own_namespaces(act)
