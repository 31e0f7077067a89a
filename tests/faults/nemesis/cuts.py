"""Faults of links and routes: cut both ways or one way, and partitions between groups of hosts."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from random import Random
from typing import Self

from tests.faults.nemesis.fault import GATEWAY, NATS, POSTGRES, Hosts, LinkFault, any_host, ours, seconds_between
from tests.faults.nemesis.loss import blackholed, silenced, unheard, unplugged
from tests.rehearsal.links import Links

Changes = Sequence[AbstractAsyncContextManager[None]]
_LEAST, _MOST = 5.0, 40.0


class Cut(LinkFault, frozen=True, tag="cut"):
    """All links of a host are down."""

    title = "links of a host cut both ways"

    @classmethod
    def draw(cls, chance: Random, hosts: Hosts) -> Self:
        return cls(seconds=seconds_between(chance, _LEAST, _MOST), hosts=(any_host(chance, hosts),))

    def changes(self, links: Links) -> Changes:
        return [unplugged(links, name) for name in self.hosts]


class OneWayCut(LinkFault, frozen=True, tag="one_way_cut"):
    """What a host sends, or what is sent to it, is lost."""

    title = "links of a host cut one way"
    outward: bool

    @classmethod
    def draw(cls, chance: Random, hosts: Hosts) -> Self:
        name, outward = any_host(chance, hosts), chance.random() < 0.5
        return cls(seconds=seconds_between(chance, _LEAST, _MOST), hosts=(name,), outward=outward)

    def changes(self, links: Links) -> Changes:
        return [silenced(links, name, outward=self.outward) for name in self.hosts]


class Blackhole(LinkFault, frozen=True, tag="blackhole"):
    """Two hosts that talk to each other have a blackhole route instead of the other one, or one of them has."""

    title = "blackhole routes between two hosts, one way and both"
    one_way: bool

    @classmethod
    def draw(cls, chance: Random, hosts: Hosts) -> Self:
        services = ours(hosts)
        reached = {NATS: services, POSTGRES: [name for name in services if name not in hosts[GATEWAY]]}
        kind = chance.choice([NATS, POSTGRES])
        pair = [chance.choice(reached[kind]), chance.choice(hosts[kind])]
        chance.shuffle(pair)
        one_way = chance.random() < 0.5
        return cls(seconds=seconds_between(chance, _LEAST, _MOST), hosts=tuple(pair), one_way=one_way)

    def changes(self, links: Links) -> Changes:
        one, other = self.hosts
        both = [blackholed(links, [one], [other]), blackholed(links, [other], [one])]
        return both[:1] if self.one_way else both


class _Partition(LinkFault, frozen=True):
    """Packets between `hosts` and `others` are lost both ways."""

    others: tuple[str, ...]

    def changes(self, links: Links) -> Changes:
        return unheard(links, self.hosts, self.others), unheard(links, self.others, self.hosts)


class NodeApart(_Partition, frozen=True, tag="node_apart"):
    """A NATS node without the other two; services still reach it."""

    title = "one NATS node partitioned from the other two, but not from the services"

    @classmethod
    def draw(cls, chance: Random, hosts: Hosts) -> Self:
        name = chance.choice(hosts[NATS])
        others = tuple(node for node in hosts[NATS] if node != name)
        return cls(seconds=seconds_between(chance, _LEAST, _MOST), hosts=(name,), others=others)


class MajorityApart(LinkFault, frozen=True, tag="majority_apart"):
    """Two NATS nodes of three without each other and without everything else: no majority is left."""

    title = "a majority of NATS partitioned from everything"
    outage = True

    @classmethod
    def draw(cls, chance: Random, hosts: Hosts) -> Self:
        pair = chance.sample(sorted(hosts[NATS]), 2)
        return cls(seconds=seconds_between(chance, _LEAST, _MOST), hosts=tuple(pair))

    def changes(self, links: Links) -> Changes:
        return [silenced(links, name, outward=outward) for name in self.hosts for outward in (False, True)]


class GatewaysWithoutNats(_Partition, frozen=True, tag="gateways_without_nats"):
    """Every gateway without NATS: nothing is delivered live, and no read has evidence of being fresh."""

    title = "gateways partitioned from NATS"
    outage = True

    @classmethod
    def draw(cls, chance: Random, hosts: Hosts) -> Self:
        seconds = seconds_between(chance, _LEAST, _MOST)
        return cls(seconds=seconds, hosts=tuple(hosts[GATEWAY]), others=tuple(hosts[NATS]))


class ServicesWithoutPostgres(_Partition, frozen=True, tag="services_without_postgres"):
    """Every service without PostgreSQL: read models stand still."""

    title = "services partitioned from PostgreSQL"
    outage = True

    @classmethod
    def draw(cls, chance: Random, hosts: Hosts) -> Self:
        seconds = seconds_between(chance, _LEAST, _MOST)
        return cls(seconds=seconds, hosts=tuple(ours(hosts)), others=tuple(hosts[POSTGRES]))
