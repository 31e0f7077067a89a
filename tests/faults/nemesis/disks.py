"""Faults of disks: full, slow, empty, or as they were some time ago.

A disk is a file system in an image in memory, mounted by a loop device, whose operations a cgroup can limit.
"""

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Self

from tests.faults.nemesis.fault import NATS, POSTGRES, Acting, Fault, Hosts, seconds_between
from tests.faults.nemesis.target import Target

# Larger than a long run needs.
_SIZE = 8 * 1024 * 1024 * 1024
# No blocks that only root may use, and nothing that the kernel initializes later.
_MAKE = ("mkfs.ext4", "-q", "-m", "0", "-N", "20000", "-J", "size=16", "-E", "lazy_itable_init=0")
_LARGEST, _SMALLEST = 256 * 1024 * 1024, 4096
# The controllers of block devices; in version 2 of cgroups they are others.
_GROUPS = Path("/sys/fs/cgroup/blkio")
_LIMITS = ("blkio.throttle.write_iops_device", "blkio.throttle.read_iops_device")


def missing() -> list[str]:
    """What this machine lacks for disks that can be filled and slowed down."""
    lacking = [f"the program {name}" for name in _MAKE[:1] if shutil.which(name) is None]
    needed = (Path("/dev/loop-control"), *(_GROUPS / limit for limit in _LIMITS))
    return lacking + [str(path) for path in needed if not path.exists()]


def mount_disk(folder: Path) -> None:
    """Makes the folder a file system of its own; its owner and rights stay."""
    owner = folder.stat()
    memory = folder.with_name(f"{folder.name}.disk")
    memory.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={_SIZE + _LARGEST}", "none", str(memory)], check=True)
    image = memory / "image"
    image.touch()
    os.truncate(image, _SIZE)
    subprocess.run([*_MAKE, str(image)], check=True)
    subprocess.run(["mount", "-o", "loop,discard", str(image), str(folder)], check=True)
    (folder / "lost+found").rmdir()
    os.chown(folder, owner.st_uid, owner.st_gid)
    folder.chmod(owner.st_mode & 0o7777)


@asynccontextmanager
async def full(folder: Path) -> AsyncIterator[None]:
    """The file system at the folder has no room."""
    filler = folder / ".filler"
    try:
        await asyncio.to_thread(_fill, filler)
        yield
    finally:
        filler.unlink()


def _fill(path: Path) -> None:
    with path.open("wb") as file:
        size, step = 0, _LARGEST
        while step >= _SMALLEST:
            try:
                os.posix_fallocate(file.fileno(), size, step)
                size += step
            except OSError:
                step //= 2


@asynccontextmanager
async def slowed(folder: Path, pids: Callable[[], Iterable[int]], operations: int) -> AsyncIterator[None]:
    """The processes read and write no more than so many times a second on the file system at the folder."""
    number = os.stat(folder).st_dev
    device = f"{os.major(number)}:{os.minor(number)}"
    group = _GROUPS / f"faults-{os.getpid()}-{folder.name}"
    group.mkdir()
    try:
        for limit in _LIMITS:
            (group / limit).write_text(f"{device} {operations}")
        _move(pids(), group)
        yield
    finally:
        for limit in _LIMITS:
            (group / limit).write_text(f"{device} 0")
        while members := (group / "cgroup.procs").read_text().split():
            _move(map(int, members), _GROUPS)
        group.rmdir()


def _move(pids: Iterable[int], group: Path) -> None:
    for pid in pids:
        try:
            (group / "cgroup.procs").write_text(str(pid))
        except ProcessLookupError:
            continue


class SlowDisk(Fault, frozen=True, tag="slow_disk"):
    """The disk of a NATS node or of a PostgreSQL server bears few operations a second."""

    title = "slow disk of a NATS node or of PostgreSQL: 5 to 100 operations a second"
    needs_disks = True
    operations: int

    @classmethod
    def draw(cls, chance: Random, hosts: Hosts) -> Self:
        name = chance.choice([*hosts[NATS], *hosts[POSTGRES]])
        return cls(seconds=seconds_between(chance, 10, 40), hosts=(name,), operations=chance.choice([5, 20, 100]))

    @asynccontextmanager
    async def acting(self, target: Target) -> Acting:
        (name,) = self.hosts
        async with slowed(target.disk(name), target.cluster.hosts[name].pids, self.operations):
            yield self.hosts


class _FullDisk(Fault, frozen=True):
    needs_disks = True

    @asynccontextmanager
    async def acting(self, target: Target) -> Acting:
        (name,) = self.hosts
        async with full(target.disk(name)):
            yield self.hosts


class NatsDiskFull(_FullDisk, frozen=True, tag="nats_disk_full"):
    """The disk of a NATS node is full; an operator restarts the node when there is room, as the runbook says."""

    title = "disk of a NATS node full"

    @classmethod
    def draw(cls, chance: Random, hosts: Hosts) -> Self:
        return cls(seconds=seconds_between(chance, 5, 30), hosts=(chance.choice(hosts[NATS]),))

    @asynccontextmanager
    async def acting(self, target: Target) -> Acting:
        async with super().acting(target) as hosts:
            yield hosts
        for name in hosts:
            host = target.cluster.hosts[name]
            await host.kill()
            await host.start()


class PostgresDiskFull(_FullDisk, frozen=True, tag="postgres_disk_full"):
    """The disk of a PostgreSQL server is full; it comes back by itself."""

    title = "disk of PostgreSQL full"

    @classmethod
    def draw(cls, chance: Random, hosts: Hosts) -> Self:
        return cls(seconds=seconds_between(chance, 5, 30), hosts=(chance.choice(hosts[POSTGRES]),))


class _LostDisk(Fault, frozen=True):
    """A NATS node is off, and comes back with another disk; the other two have everything before and after it."""

    destroys_copy = True

    @asynccontextmanager
    async def acting(self, target: Target) -> Acting:
        (name,) = self.hosts
        await target.until_whole()
        host = target.cluster.hosts[name]
        await host.kill()
        await asyncio.to_thread(self._replace, target)
        try:
            yield self.hosts
        finally:
            await host.start()
        await target.until_whole()

    def _replace(self, target: Target) -> None:
        """Replaces what is on the disk of the node, which is off."""
        raise NotImplementedError


class EmptyDisk(_LostDisk, frozen=True, tag="empty_disk"):
    title = "a NATS node comes back with an empty disk"

    @classmethod
    def draw(cls, chance: Random, hosts: Hosts) -> Self:
        return cls(seconds=seconds_between(chance, 1, 10), hosts=(chance.choice(hosts[NATS]),))

    def _replace(self, target: Target) -> None:
        for name in self.hosts:
            clear(target.disk(name))


class OldDisk(_LostDisk, frozen=True, tag="old_disk"):
    """The backup is from the begin of the run."""

    title = "a NATS node comes back with its store restored from an old backup"

    @classmethod
    async def prepare(cls, target: Target) -> None:
        """Copies the store of each node, one after another, each while the node is off."""
        for name in target.cluster.names(NATS):
            await target.until_whole()
            host = target.cluster.hosts[name]
            await host.kill()
            await asyncio.to_thread(shutil.copytree, target.disk(name), cls._backup(target, name))
            await host.start()
        await target.until_whole()

    @classmethod
    def draw(cls, chance: Random, hosts: Hosts) -> Self:
        return cls(seconds=seconds_between(chance, 1, 10), hosts=(chance.choice(hosts[NATS]),))

    def _replace(self, target: Target) -> None:
        for name in self.hosts:
            clear(target.disk(name))
            shutil.copytree(self._backup(target, name), target.disk(name), dirs_exist_ok=True)

    @staticmethod
    def _backup(target: Target, name: str) -> Path:
        return target.folder / f"{name}.backup"


def clear(folder: Path) -> None:
    """Removes what is in the folder, which may be a mounted file system."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
