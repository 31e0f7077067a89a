"""Ways in which packets between hosts are lost; each ends with its block.

| | what is lost | what the sender sees |
|---|---|---|
| `unplugged` | everything of a host, both ways | silence |
| `silenced` | everything that leaves a host or reaches it | silence |
| `unheard` | what one group of hosts sends to another | silence: frames go to an address that nobody has |
| `blackholed` | what one group of hosts sends to another | an error when it connects; of open connections silence |
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from tests.rehearsal.links import Link, Links, ip, tc

_NOBODY = "02:00:00:00:00:01"


@asynccontextmanager
async def unplugged(links: Links, host: str) -> AsyncIterator[None]:
    await links.cut(host)
    try:
        yield
    finally:
        await links.heal(host)


@asynccontextmanager
async def silenced(links: Links, host: str, *, outward: bool) -> AsyncIterator[None]:
    """`outward`: what the host sends is lost; otherwise what is sent to it."""
    # A queue without room loses every packet.
    async with queue_at(links, host, "pfifo limit 0", outward=outward):
        yield


@asynccontextmanager
async def queue_at(links: Links, host: str, queue: str, *, outward: bool) -> AsyncIterator[None]:
    """Puts a queue with the given `tc` parameters at all links of a host, in one direction."""
    namespace = links.namespaces[host] if outward else 0
    devices = [link.device if outward else link.port for link in links.of(host)]
    await tc([f"qdisc replace dev {device} root {queue}" for device in devices], namespace)
    try:
        yield
    finally:
        await tc([f"qdisc delete dev {device} root" for device in devices], namespace)


@asynccontextmanager
async def unheard(links: Links, senders: Sequence[str], receivers: Sequence[str]) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        for sender in senders:
            namespace = links.namespaces[sender]
            pairs = list(_shared(links, sender, receivers))
            await ip(
                [
                    f"neighbour replace {theirs.address} lladdr {_NOBODY} dev {own.device} nud permanent"
                    for own, theirs in pairs
                ],
                namespace,
            )
            healing = [f"neighbour delete {theirs.address} dev {own.device}" for own, theirs in pairs]
            stack.push_async_callback(ip, healing, namespace)
        yield


@asynccontextmanager
async def blackholed(links: Links, senders: Sequence[str], receivers: Sequence[str]) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        for sender in senders:
            namespace = links.namespaces[sender]
            routes = [f"blackhole {theirs.address}/32" for _, theirs in _shared(links, sender, receivers)]
            await ip([f"route add {route}" for route in routes], namespace)
            stack.push_async_callback(ip, [f"route delete {route}" for route in routes], namespace)
        yield


def _shared(links: Links, host: str, others: Sequence[str]) -> Iterator[tuple[Link, Link]]:
    """The links of a host, each with those of others in the same network."""
    for own in links.of(host):
        for theirs in links.links:
            if theirs.network == own.network and theirs.host in others and theirs.host != host:
                yield own, theirs
