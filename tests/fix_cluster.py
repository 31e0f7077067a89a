"""Three NATS servers as one cluster on the loopback address, whose nodes tests kill, restart and depose.

A cluster takes seconds to elect its leaders, so that one is shared by the tests of a module: each works on aggregates
of its own and leaves all nodes running.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio
from nats.errors import Error as NatsError

from infra.embedded.nats import ClusterNode, NatsServer
from infra.embedded.ports import free_ports
from streams.client import Client
from streams.topology import ensure_streams

NAME = "three"
SIZE = 3
_WITHIN = 120.0
_LOOK = 0.05


class _Replica(msgspec.Struct):
    name: str
    current: bool = False
    offline: bool = False


class _Group(msgspec.Struct):
    leader: str = ""
    replicas: list[_Replica] = []


class _Info(msgspec.Struct):
    cluster: _Group = msgspec.field(default_factory=_Group)


_INFO = msgspec.json.Decoder(_Info)


class Cluster:
    """The nodes by name; `client` is connected to any of those that live."""

    def __init__(self, folder: Path) -> None:
        free = free_ports(2 * SIZE)
        ports, routes = free[:SIZE], free[SIZE:]
        self.nodes: dict[str, NatsServer] = {}
        for number, (port, route) in enumerate(zip(ports, routes, strict=True), 1):
            others = [each for each in routes if each != route]
            node = ClusterNode(cluster=NAME, name=f"node-{number}", port=route, routes=others)
            self.nodes[node.name] = NatsServer(folder / node.name, port=port, node=node)
        self.client = Client()

    async def start(self) -> None:
        """All nodes at once: none is ready before most are there."""
        await asyncio.gather(*(node.start() for node in self.nodes.values()))

    async def connect(self) -> Client:
        """A client that finds a living node quickly; whoever asks for it closes it."""
        client = Client()
        await client.connect(
            [node.url for node in self.nodes.values()],
            reconnect_time_wait=0.05,  # type: ignore[arg-type]  # seconds that it sleeps; a fraction is meant
            max_reconnect_attempts=-1,
            connect_timeout=1,
            error_cb=_expected,
        )
        return client

    async def kill(self, *names: str) -> None:
        for name in names:
            self.nodes[name].kill()
        await asyncio.gather(*(self.nodes[name].wait() for name in names))

    async def restart(self, *names: str) -> None:
        await asyncio.gather(*(self.nodes[name].start() for name in names))

    async def leader(self, stream: str) -> str:
        """The name of the node that leads the stream, as soon as there is one."""
        return (await self._group(stream, lambda group: bool(group.leader))).leader

    async def followers(self, stream: str) -> list[str]:
        leader = await self.leader(stream)
        return [name for name in self.nodes if name != leader]

    async def whole(self, stream: str) -> None:
        """Waits until the stream has a leader and every other node has all that it has."""

        def complete(group: _Group) -> bool:
            behind = [replica for replica in group.replicas if replica.offline or not replica.current]
            return bool(group.leader) and len(group.replicas) == SIZE - 1 and not behind

        await self._group(stream, complete)

    async def step_down(self, stream: str) -> None:
        """Deposes the stream's leader: the nodes elect another."""
        answer = await self.client.request(f"$JS.API.STREAM.LEADER.STEPDOWN.{stream}", b"", timeout=60)
        assert b'"success":true' in answer.data.replace(b" ", b""), answer.data

    async def stop(self) -> None:
        await self.client.close()
        await asyncio.gather(*(node.stop() for node in self.nodes.values()))

    async def _group(self, stream: str, condition: Callable[[_Group], bool]) -> _Group:
        async with asyncio.timeout(_WITHIN):
            while True:
                try:
                    answer = await self.client.request(f"$JS.API.STREAM.INFO.{stream}", b"", timeout=1)
                except NatsError:
                    answer = None
                if answer is not None and condition(group := _INFO.decode(answer.data).cluster):
                    return group
                await asyncio.sleep(_LOOK)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    """Three running nodes with the five streams on all of them: for tests whose loop is the module's."""
    cluster = Cluster(tmp_path_factory.mktemp("cluster"))
    try:
        await cluster.start()
        cluster.client = await cluster.connect()
        await ensure_streams(cluster.client, replicas=SIZE, patience=_WITHIN)
        yield cluster
    finally:
        await cluster.stop()


async def _expected(error: Exception) -> None:
    """Servers that are killed break connections; the client mends them by itself."""
