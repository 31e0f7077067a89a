"""A server is closed for writes on a disk without bytes or inodes, not restarted again and again after a full one."""

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from infra.embedded import store_space
from infra.embedded.nats_server import MEBIBYTE, NatsServer
from infra.embedded.store_space import StoreSpace

_TOTAL = 100 * 1024 * MEBIBYTE
_PLENTY = _TOTAL // 2


class _Server(NatsServer):
    """Counts the calls of the check without any effect."""

    restarts = 0

    def close_for_writes(self) -> None:
        self.is_closed = True

    def open_for_writes(self) -> None:
        self.is_closed = False

    def restart_after_full_disk(self) -> None:
        self.restarts += 1
        self.is_closed = self.met_full_disk = False


class _Disk:
    def __init__(self) -> None:
        self.free = _PLENTY
        self.inodes = self.all_inodes = 1_000_000
        self.clock = 1_000.0


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> _Disk:
    disk = _Disk()
    replace: Callable[[object, str, object], None] = monkeypatch.setattr
    replace(
        os,
        "statvfs",
        lambda _: SimpleNamespace(
            f_frsize=1, f_blocks=_TOTAL, f_bavail=disk.free, f_files=disk.all_inodes, f_favail=disk.inodes
        ),
    )
    replace(store_space, "time", SimpleNamespace(monotonic=lambda: disk.clock))
    return disk


@pytest.fixture
def server(tmp_path: Path) -> _Server:
    server = _Server(tmp_path)
    server.has_started = True
    return server


@pytest.fixture
def reports() -> list[str]:
    return []


@pytest.fixture
def space(server: _Server, tmp_path: Path, reports: list[str]) -> StoreSpace:
    return StoreSpace(server, tmp_path, lambda text, level: reports.append(text))


def test_without_inodes_the_store_is_closed_until_there_are_twice_the_reserve(
    space: StoreSpace, server: _Server, disk: _Disk, reports: list[str]
) -> None:
    disk.inodes = 999
    space.check()
    assert server.is_closed
    disk.inodes = 1_999
    space.check()
    assert server.is_closed
    disk.inodes = 2_000
    space.check()
    assert not server.is_closed
    assert server.restarts == 0
    [closed, _] = reports
    assert "999 inodes are free" in closed
    assert "until there are 2000 inodes" in closed


def test_a_server_that_met_a_disk_without_inodes_is_restarted_once_there_are_some(
    space: StoreSpace, server: _Server, disk: _Disk
) -> None:
    disk.inodes = 0
    server.met_full_disk = True
    for _ in range(3):
        space.check()
    assert (server.restarts, server.is_closed) == (0, True)
    disk.inodes = 10_000
    space.check()
    assert server.restarts == 1


def test_a_file_system_that_counts_no_inodes_has_enough(space: StoreSpace, server: _Server, disk: _Disk) -> None:
    disk.all_inodes = disk.inodes = 0
    space.check()
    assert not server.is_closed


def test_a_full_disk_that_no_check_has_seen_costs_a_restart_in_minutes_at_most(
    space: StoreSpace, server: _Server, disk: _Disk
) -> None:
    for _ in range(3):
        server.met_full_disk = True
        space.check()
    assert server.restarts == 1
    disk.clock += 301.0
    space.check()
    assert server.restarts == 2


def test_a_full_disk_that_a_check_has_seen_costs_a_restart_at_once_each_time(
    space: StoreSpace, server: _Server, disk: _Disk
) -> None:
    for _ in range(2):
        disk.free = 0
        server.met_full_disk = True
        space.check()
        assert server.is_closed
        disk.free = _PLENTY
        space.check()
        assert not server.is_closed
    assert server.restarts == 2


def test_a_server_that_is_starting_gets_no_signal(space: StoreSpace, server: _Server, disk: _Disk) -> None:
    server.has_started = False
    server.met_full_disk = True
    space.check()
    disk.free = 0
    space.check()
    assert (server.restarts, server.is_closed) == (0, False)
    server.has_started = True
    space.check()
    assert server.is_closed
