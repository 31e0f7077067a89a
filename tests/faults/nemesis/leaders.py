"""Faults of leaders: one steps down, one dies."""

from contextlib import asynccontextmanager
from random import Random
from typing import Self

from contracts.subjects import MESSAGING, STREAMS
from tests.faults.nemesis.fault import NATS, Acting, Fault, Hosts, seconds_between
from tests.faults.nemesis.target import Target

# Stands for the leader of JetStream's metadata among the streams.
METADATA = "metadata"


class StepDown(Fault, frozen=True, tag="step_down"):
    """The leader of a stream, or of JetStream's metadata, steps down."""

    title = "leader step-down"
    stream: str

    @classmethod
    def draw(cls, chance: Random, hosts: Hosts) -> Self:
        # Which node leads is known when the fault begins.
        stream = chance.choice([MESSAGING, METADATA, *STREAMS])
        return cls(seconds=0, hosts=tuple(hosts[NATS]), stream=stream)

    @asynccontextmanager
    async def acting(self, target: Target) -> Acting:
        if self.stream == METADATA:
            await target.step_down_metadata()
        else:
            await target.step_down(self.stream)
        yield (self.stream,)


class LeaderDies(Fault, frozen=True, tag="leader_dies"):
    """The node that leads a stream ends by SIGKILL, and comes back only after the fault."""

    title = "death of a stream's leader"
    stream: str

    @classmethod
    def draw(cls, chance: Random, hosts: Hosts) -> Self:
        stream = chance.choice([MESSAGING, MESSAGING, *STREAMS])
        return cls(seconds=seconds_between(chance, 5, 30), hosts=tuple(hosts[NATS]), stream=stream)

    @asynccontextmanager
    async def acting(self, target: Target) -> Acting:
        host = target.cluster.hosts[await target.leader(self.stream)]
        await host.kill()
        try:
            yield (host.name,)
        finally:
            await host.start()
