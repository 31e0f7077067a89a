"""A full disk refuses what is written, keeps what is on it, and has room again afterwards."""

import errno
from pathlib import Path

import pytest

from tests.faults.nemesis.disks import clear, full, mount_small_disk
from tests.integration.faults.own_namespaces import in_own_namespaces

_CONTENT = bytes(100_000)


def test_a_disk_is_full_for_a_while(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir(mode=0o700)

    async def act() -> None:
        mount_small_disk(disk)
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
    async def act() -> None:
        mount_small_disk(tmp_path)
        (tmp_path / "folder").mkdir()
        (tmp_path / "folder" / "file").write_bytes(_CONTENT)
        (tmp_path / "file").write_bytes(_CONTENT)
        clear(tmp_path)
        assert list(tmp_path.iterdir()) == []
        async with full(tmp_path):
            with pytest.raises(OSError, match="No space left"):
                (tmp_path / "file").write_bytes(_CONTENT)

    in_own_namespaces(act)
