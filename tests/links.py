"""Proxies on the loopback address for the routes between the nodes of a cluster, to simulate network partitions.

No privilege is needed, and nothing outside of the test's process changes. A cut link behaves like a network that drops
packets: connections stay open, nothing comes through, and data in transit arrives after healing.
"""

import asyncio
from collections.abc import Iterable, Mapping

from infra.embedded.nats_server import ClusterNode
from infra.embedded.ports import free_ports

_PIECE = 64 * 1024
# Nodes advertise their addresses to each other. Nothing listens on this one, so no route bypasses the links.
_NOWHERE = "127.0.0.1:1"


class LinkedNode(ClusterNode):
    """A node that other nodes reach only through links; its `routes` are the links' ports."""

    def settings(self) -> dict[str, object]:
        return super().settings() | {"advertise": _NOWHERE}


class Link:
    """A proxy for the connections that one node opens to another."""

    def __init__(self, port: int, target: int) -> None:
        self.port = port
        self._target = target
        self._open = asyncio.Event()
        self._open.set()
        self._server: asyncio.Server | None = None
        self._pumps: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", self.port)

    def cut(self) -> None:
        self._open.clear()

    def heal(self) -> None:
        self._open.set()

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for pump in self._pumps:
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._open.wait()
        try:
            target_reader, target_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.close()
            return
        for pump in (self._pump(reader, target_writer), self._pump(target_reader, writer)):
            task = asyncio.create_task(pump)
            self._pumps.add(task)
            task.add_done_callback(self._pumps.discard)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(_PIECE):
                await self._open.wait()
                writer.write(data)
                await writer.drain()
        except OSError:
            return
        finally:
            writer.close()


class Links:
    """All links of a cluster, by the names of the two nodes."""

    def __init__(self, listening: Mapping[str, int]) -> None:
        """`listening`: the port of each node for routes."""
        pairs = [(one, other) for one in listening for other in listening if one != other]
        ports = free_ports(len(pairs))
        self._links = {pair: Link(port, listening[pair[1]]) for pair, port in zip(pairs, ports, strict=True)}

    def routes_of(self, name: str) -> list[int]:
        """The ports through which the node reaches the others."""
        return [link.port for (one, _), link in self._links.items() if one == name]

    async def start(self) -> None:
        await asyncio.gather(*(link.start() for link in self._links.values()))

    def cut(self, name: str) -> None:
        """Partitions the node from all others, in both directions."""
        for link in self._of(name):
            link.cut()

    def heal(self, name: str) -> None:
        for link in self._of(name):
            link.heal()

    async def stop(self) -> None:
        for link in self._links.values():
            link.heal()
        await asyncio.gather(*(link.stop() for link in self._links.values()))

    def _of(self, name: str) -> Iterable[Link]:
        return [link for pair, link in self._links.items() if name in pair]
