"""What operators do while people are at work: restarts, upgrades and a fail-over of PostgreSQL."""

import asyncio
from collections.abc import Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Self

from tests.faults.nemesis.fault import GATEWAY, NATS, POSTGRES, Acting, Fault, Hosts, ours, seconds_between
from tests.faults.nemesis.target import Target
from tests.rehearsal.cluster import ROOT, compiled
from tests.upgrade.releases import next_release


class FailOver(Fault, frozen=True, tag="fail_over"):
    """The primary of PostgreSQL dies, the standby is promoted, and the old primary comes back as the standby."""

    title = "fail-over of PostgreSQL, with the old primary coming back"
    outage = False

    @classmethod
    def draw(cls, chance: Random, hosts: Hosts) -> Self:
        return cls(seconds=seconds_between(chance, 2, 20), hosts=tuple(hosts[POSTGRES]))

    @asynccontextmanager
    async def acting(self, target: Target) -> Acting:
        deployment = target.deployment
        primary = await deployment.primary()
        (standby,) = (name for name in self.hosts if name != primary)
        await deployment.until_standby(standby)
        await target.cluster.hosts[primary].kill()
        try:
            await deployment.promote(standby)
            yield (primary,)
        finally:
            await target.cluster.hosts[primary].start()
        await deployment.until_standby(primary)


class RollingRestart(Fault, frozen=True, tag="rolling_restart"):
    """Everything is restarted, a part at a time, each when the one before is ready again."""

    title = "rolling restart of everything"
    outage = False

    @classmethod
    def draw(cls, chance: Random, hosts: Hosts) -> Self:
        return cls(seconds=0, hosts=tuple(name for names in hosts.values() for name in names))

    @asynccontextmanager
    async def acting(self, target: Target) -> Acting:
        for name in target.cluster.names(NATS):
            await target.deployment.restart([name])
            await target.until_whole()
        primary = await target.deployment.primary()
        for name in sorted(target.cluster.names(POSTGRES), key=lambda name: name == primary):
            await target.deployment.restart([name])
        for names in parts(target):
            await target.deployment.restart(names)
        yield self.hosts


class RollingUpgrade(Fault, frozen=True, tag="rolling_upgrade"):
    """Services and gateways are upgraded to a next release, a part at a time, and go back to this one.

    The last release cannot run here: it does not know this deployment.
    """

    title = "rolling upgrade to a next release, and back"
    outage = False

    @classmethod
    async def prepare(cls, target: Target) -> None:
        cls._tree(target).parent.mkdir()
        release = await asyncio.to_thread(next_release, cls._tree(target).parent)
        await compiled(release.root)

    @classmethod
    def draw(cls, chance: Random, hosts: Hosts) -> Self:
        return cls(seconds=seconds_between(chance, 2, 10), hosts=tuple(ours(hosts)))

    @asynccontextmanager
    async def acting(self, target: Target) -> Acting:
        try:
            for names in parts(target):
                await self._run(target, names, self._tree(target))
            yield self.hosts
        finally:
            for names in reversed(parts(target)):
                await self._run(target, names, ROOT)

    @staticmethod
    async def _run(target: Target, names: Sequence[str], tree: Path) -> None:
        for name in names:
            target.cluster.use_tree(name, tree)
        await target.deployment.restart(names)

    @staticmethod
    def _tree(target: Target) -> Path:
        return target.folder / "next" / "present-tree"


def parts(target: Target) -> list[list[str]]:
    """The hosts of our services by the number of the replica, then the gateways in the same way."""
    gateways = target.cluster.names(GATEWAY)
    services = [name for name in target.cluster.ours() if name not in gateways]
    numbers = sorted({name.rpartition("-")[2] for name in target.cluster.ours()})
    groups = []
    for kind in (services, gateways):
        groups += [[name for name in kind if name.endswith(f"-{number}")] for number in numbers]
    return [group for group in groups if group]
