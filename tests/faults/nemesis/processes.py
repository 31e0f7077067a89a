"""Faults of processes: killed, switched off for a while, frozen."""

import signal
from contextlib import asynccontextmanager
from random import Random
from typing import Self

from tests.faults.nemesis.fault import Acting, Fault, Hosts, any_host, seconds_between
from tests.faults.nemesis.target import Target

# A host that is killed is started again after a pause of its container engine.
_BACK_AFTER = 2.0


class Kill(Fault, frozen=True, tag="kill"):
    """All processes of a host end by SIGKILL; the container engine starts it again."""

    title = "`kill -9`, started again by the container engine"

    @classmethod
    def draw(cls, chance: Random, hosts: Hosts) -> Self:
        return cls(seconds=_BACK_AFTER, hosts=(any_host(chance, hosts),))

    @asynccontextmanager
    async def acting(self, target: Target) -> Acting:
        for name in self.hosts:
            await target.cluster.hosts[name].crash()
        yield self.hosts


class PowerOff(Fault, frozen=True, tag="power_off"):
    """All processes of a host end by SIGKILL, and come back only after the fault."""

    title = "`kill -9`, started again some time later"

    @classmethod
    def draw(cls, chance: Random, hosts: Hosts) -> Self:
        return cls(seconds=seconds_between(chance, 5, 40), hosts=(any_host(chance, hosts),))

    @asynccontextmanager
    async def acting(self, target: Target) -> Acting:
        for name in self.hosts:
            await target.cluster.hosts[name].kill()
        try:
            yield self.hosts
        finally:
            for name in self.hosts:
                await target.cluster.hosts[name].start()


class Freeze(Fault, frozen=True, tag="freeze"):
    """All processes of a host stand still by SIGSTOP; connections stay open, and nothing is answered."""

    title = "SIGSTOP for 1 to 40 s, then SIGCONT"

    @classmethod
    def draw(cls, chance: Random, hosts: Hosts) -> Self:
        return cls(seconds=seconds_between(chance, 1, 40), hosts=(any_host(chance, hosts),))

    @asynccontextmanager
    async def acting(self, target: Target) -> Acting:
        for name in self.hosts:
            target.cluster.hosts[name].signal_all(signal.SIGSTOP)
        try:
            yield self.hosts
        finally:
            for name in self.hosts:
                target.cluster.hosts[name].signal_all(signal.SIGCONT)
