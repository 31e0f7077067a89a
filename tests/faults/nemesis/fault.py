"""A fault: what the laboratory does to the deployment, with parameters that a seed has drawn."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from random import Random
from typing import ClassVar, Self

import msgspec

from tests.faults.nemesis.target import Target
from tests.rehearsal.links import Links

# By kind (`nats`, `postgres`, `gateway`, `messaging` and so on) the names of the hosts.
Hosts = Mapping[str, Sequence[str]]
NATS, POSTGRES, GATEWAY = "nats", "postgres", "gateway"
# Kinds that are no service of ours.
_SERVERS = (NATS, POSTGRES)


class Fault(msgspec.Struct, frozen=True, kw_only=True, tag_field="fault"):
    """Each class is a row of the report, named by its tag."""

    # What the report says of it.
    title: ClassVar[str]
    # Whether it destroys a copy of acknowledged messages: never together with another fault of the same servers.
    destroys_copy: ClassVar[bool] = False
    # What the laboratory prepares for it: disks that can be filled and slowed down, clocks that can jump.
    needs_disks: ClassVar[bool] = False
    needs_clocks: ClassVar[bool] = False
    # Whether requests may fail meanwhile; None: if it acts on PostgreSQL, since a fail-over is a decision of operators.
    outage: ClassVar[bool | None] = None

    # How long it acts, after whatever it takes to begin.
    seconds: float
    # The hosts it acts on; no other fault acts on them at the same time.
    hosts: tuple[str, ...]

    @classmethod
    def draw(cls, chance: Random, hosts: Hosts) -> Self:
        """Draws its parameters."""
        raise NotImplementedError

    @classmethod
    async def prepare(cls, target: Target) -> None:
        """Called once, when the deployment runs and nobody uses it yet."""

    def acting(self, target: Target) -> AbstractAsyncContextManager[Sequence[str]]:
        """The fault begins with the block and ends with it; yields the hosts it acts on, once it is there.

        Raises:
            AssertionError: what the fault harmed does not come back.
        """
        raise NotImplementedError

    @property
    def is_outage(self) -> bool:
        """Whether requests cannot succeed during the fault. Recovery then counts from the fault's end."""
        if self.outage is not None:
            return self.outage
        return any(name.rpartition("-")[0] == POSTGRES for name in self.hosts)

    @classmethod
    def name(cls) -> str:
        return str(cls.__struct_config__.tag)


class LinkFault(Fault, frozen=True):
    """Several changes of links that begin and end together."""

    def changes(self, links: Links) -> Iterable[AbstractAsyncContextManager[None]]:
        raise NotImplementedError

    @asynccontextmanager
    async def acting(self, target: Target) -> "Acting":
        async with AsyncExitStack() as stack:
            for change in self.changes(target.cluster.links):
                await stack.enter_async_context(change)
            yield self.hosts


# What `acting` of a fault returns before it is made a context manager.
Acting = AsyncIterator[Sequence[str]]


def ours(hosts: Hosts) -> list[str]:
    """The hosts of our services and gateways."""
    return [name for kind, names in hosts.items() if kind not in _SERVERS for name in names]


def any_host(chance: Random, hosts: Hosts) -> str:
    """Draws a host; those of NATS and PostgreSQL as often as those of all services."""
    return chance.choice([*hosts[NATS], *hosts[POSTGRES]] if chance.random() < 0.5 else ours(hosts))


def seconds_between(chance: Random, least: float, most: float) -> float:
    """Seconds with one decimal, so that a schedule is read easily."""
    return round(chance.uniform(least, most), 1)
