"""Faults of disks: full, empty, or as they were some time ago."""

import asyncio
import os
import shutil
import subprocess
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Self

from tests.faults.nemesis.fault import NATS, POSTGRES, Acting, Fault, Hosts, seconds_between
from tests.faults.nemesis.target import Target

# Larger than a long run needs.
_SIZE = 4 * 1024 * 1024 * 1024
_PAGE = 4096
_TRIES = 20


def mount_small_disk(folder: Path) -> None:
    """Makes the folder a file system of its own, in memory, which can be filled; its owner and rights stay."""
    owner = folder.stat()
    options = f"size={_SIZE},mode={owner.st_mode & 0o7777:o},uid={owner.st_uid},gid={owner.st_gid}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", str(folder)], check=True)


@asynccontextmanager
async def full(folder: Path) -> Acting:
    """The file system at the folder has no room: it becomes as small as what is in it."""
    try:
        for _ in range(_TRIES):
            state = os.statvfs(folder)
            used = (state.f_blocks - state.f_bfree) * state.f_frsize
            # Refused if more is in it by now.
            if await _resize(folder, used + _PAGE):
                break
        else:
            raise AssertionError(f"{folder} cannot be made as small as what is in it")
        yield (str(folder),)
    finally:
        assert await _resize(folder, _SIZE), f"{folder} cannot be made large again"


async def _resize(folder: Path, size: int) -> bool:
    process = await asyncio.create_subprocess_exec(
        *("mount", "-o", f"remount,size={size}", str(folder)), stderr=asyncio.subprocess.DEVNULL
    )
    return await process.wait() == 0


class _FullDisk(Fault, frozen=True):
    needs_small_disks = True

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
