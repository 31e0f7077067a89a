"""Faults of links that still carry packets: too few, too late, with losses, out of order."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from random import Random
from typing import Self

import msgspec

from tests.faults.nemesis.fault import Hosts, LinkFault, any_host, seconds_between
from tests.faults.nemesis.loss import queue_at
from tests.rehearsal.links import Links, ip

_FORWARDER = Path(__file__).with_name("forwarder.py")
_LEAST, _MOST = 10.0, 40.0
# What a slow link keeps while it has no room, in time; the rest is lost.
_QUEUE = "tbf rate {kilobits}kbit burst 16kb latency 400ms"


class Quality(msgspec.Struct, frozen=True, kw_only=True):
    """Quality of a link in each direction; see `forwarder.Impairment`."""

    delay: float = 0.0
    jitter: float = 0.0
    loss: float = 0.0
    reorder: float = 0.0


@asynccontextmanager
async def slowed(links: Links, host: str, kilobits: int) -> AsyncIterator[None]:
    """All links of a host carry only so many kilobits a second in each direction."""
    queue = _QUEUE.format(kilobits=kilobits)
    async with queue_at(links, host, queue, outward=True), queue_at(links, host, queue, outward=False):
        yield


@asynccontextmanager
async def forwarded(links: Links, host: str, quality: Quality, seed: int) -> AsyncIterator[None]:
    """All packets of a host pass through a forwarder: each port leaves its bridge for one of its own behind it."""
    ports = {link.port: links.bridges[link.network] for link in links.of(host)}
    pairs = [[f"{port}x", f"{port}y"] for port in ports]
    specification = {"pairs": pairs, "seed": seed, **msgspec.structs.asdict(quality)}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-S", str(_FORWARDER), json.dumps(specification)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n", "the forwarder does not start"
        for port, bridge in ports.items():
            await ip(
                [
                    f"link add {port}p type bridge",
                    f"link set {port}p up",
                    f"link set {port}x master {bridge} up",
                    f"link set {port}y master {port}p up",
                    f"link set {port} master {port}p",
                ]
            )
        yield
        assert process.returncode is None, "the forwarder has ended"
    finally:
        for port, bridge in ports.items():
            await ip([f"link set {port} master {bridge}", f"link delete {port}p"])
        if process.returncode is None:
            process.kill()
        await process.wait()


class SlowLink(LinkFault, frozen=True, tag="slow_link"):
    """The links of a host carry few bytes a second."""

    title = "slow links of a host (token bucket)"
    kilobits: int

    @classmethod
    def draw(cls, chance: Random, hosts: Hosts) -> Self:
        name, kilobits = any_host(chance, hosts), chance.choice([64, 256, 1000])
        return cls(seconds=seconds_between(chance, _LEAST, _MOST), hosts=(name,), kilobits=kilobits)

    def changes(self, links: Links) -> Sequence[AbstractAsyncContextManager[None]]:
        return [slowed(links, name, self.kilobits) for name in self.hosts]


class _Forwarded(LinkFault, frozen=True):
    quality: Quality
    seed: int

    def changes(self, links: Links) -> Sequence[AbstractAsyncContextManager[None]]:
        return [forwarded(links, name, self.quality, self.seed) for name in self.hosts]


class DelayedLink(_Forwarded, frozen=True, tag="delayed_link"):
    """Packets of a host take up to half a second longer in each direction."""

    title = "delay of 20 to 500 ms each way, with jitter"

    @classmethod
    def draw(cls, chance: Random, hosts: Hosts) -> Self:
        delay = round(chance.uniform(0.02, 0.5), 3)
        quality = Quality(delay=delay, jitter=round(delay * chance.random(), 3))
        seconds, name, seed = _drawn(chance, hosts)
        return cls(seconds=seconds, hosts=(name,), seed=seed, quality=quality)


class LossyLink(_Forwarded, frozen=True, tag="lossy_link"):
    """Some packets of a host are lost."""

    title = "loss of 1 to 20 % of packets each way"

    @classmethod
    def draw(cls, chance: Random, hosts: Hosts) -> Self:
        quality = Quality(loss=round(chance.uniform(0.01, 0.2), 3))
        seconds, name, seed = _drawn(chance, hosts)
        return cls(seconds=seconds, hosts=(name,), seed=seed, quality=quality)


class ReorderingLink(_Forwarded, frozen=True, tag="reordering_link"):
    """Packets of a host overtake each other."""

    title = "reordering of 5 to 50 % of packets, delayed by 10 to 100 ms"

    @classmethod
    def draw(cls, chance: Random, hosts: Hosts) -> Self:
        quality = Quality(delay=round(chance.uniform(0.01, 0.1), 3), reorder=round(chance.uniform(0.05, 0.5), 3))
        seconds, name, seed = _drawn(chance, hosts)
        return cls(seconds=seconds, hosts=(name,), seed=seed, quality=quality)


def _drawn(chance: Random, hosts: Hosts) -> tuple[float, str, int]:
    return seconds_between(chance, _LEAST, _MOST), any_host(chance, hosts), chance.randrange(1_000_000)
