"""A cluster of three NATS servers on the loopback address, whose nodes tests kill, restart, step down and partition.

A cluster takes seconds to elect its leaders, so the tests of a module share one. Each test uses its own aggregates and
leaves all nodes running.
"""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import pytest
import pytest_asyncio
from nats.aio.client import Client as NATS
from nats.errors import Error as NatsError

from infra.embedded.nats_server import ClusterNode, NatsServer
from infra.embedded.ports import free_ports
from streams.jetstream.client import Client
from streams.topology import ensure_quorum, ensure_streams
from tests.links import LinkedNode, Links
from tests.stream_replicas import STREAM_INFO, Group

NAME = "three"
SIZE = 3
_WAIT_SECONDS = 120.0
_POLL_SECONDS = 0.05
_LEADS = "Self is new JetStream cluster metadata leader"


class Cluster:
    """The nodes by name; `client` is connected to any live one."""

    def __init__(self, folder: Path, *, linked: bool = False) -> None:
        """`linked`: nodes can be partitioned."""
        free = free_ports(2 * SIZE)
        ports, routes = free[:SIZE], free[SIZE:]
        self.nodes: dict[str, NatsServer] = {}
        self._folders: dict[str, Path] = {}
        listening = {f"node-{number}": route for number, route in enumerate(routes, 1)}
        self.links = Links(listening) if linked else None
        for port, (name, route) in zip(ports, listening.items(), strict=True):
            if self.links is not None:
                node: ClusterNode = LinkedNode(NAME, name, route, self.links.routes_of(name))
            else:
                node = ClusterNode(NAME, name, route, [peer for peer in routes if peer != route])
            self._folders[name] = folder / name
            self.nodes[name] = NatsServer(folder / name, port=port, node=node)
        self.client = Client()

    async def start(self) -> None:
        """Starts all nodes together, since none is ready before a majority runs."""
        if self.links is not None:
            await self.links.start()
        await asyncio.gather(*(node.start() for node in self.nodes.values()))

    async def connect(self, *names: str) -> Client:
        """Connects a client to these nodes, or to any; it reconnects quickly. The caller closes it."""
        client = Client()
        await client.connect(
            [self.nodes[name].url for name in names or self.nodes],
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

    def freeze(self, name: str) -> None:
        """Suspends the node's process: its connections stay open, and nothing is answered."""
        pid = self.nodes[name].pid
        os.kill(pid, signal.SIGSTOP)
        # A thread that is running on another processor goes on for a moment.
        deadline = time.monotonic() + _WAIT_SECONDS
        while not _is_suspended(pid):
            assert time.monotonic() < deadline, f"{name} goes on"
            time.sleep(0.001)

    def thaw(self, name: str) -> None:
        os.kill(self.nodes[name].pid, signal.SIGCONT)

    def node_of(self, client: NATS) -> str:
        """The node that the client is connected to."""
        assert client.connected_url is not None
        port = client.connected_url.port
        return next(name for name, node in self.nodes.items() if urlsplit(node.url).port == port)

    async def restart(self, *names: str) -> None:
        await asyncio.gather(*(self.nodes[name].start() for name in names))

    async def leader(self, stream: str) -> str:
        """Waits until the stream has a leader, and returns the node's name."""
        return (await self._group(stream, lambda group: bool(group.leader))).leader

    async def followers(self, stream: str) -> list[str]:
        leader = await self.leader(stream)
        return [name for name in self.nodes if name != leader]

    async def whole(self, stream: str) -> None:
        """Waits until the stream has a leader and every other node is current."""

        def complete(group: Group) -> bool:
            behind = [replica for replica in group.replicas if replica.offline or not replica.current]
            return bool(group.leader) and len(group.replicas) == SIZE - 1 and not behind

        await self._group(stream, complete)

    async def stubborn_leader(self, stream: str) -> str:
        """Moves the stream's leader to the metadata leader: when partitioned, that node keeps answering longest."""
        async with asyncio.timeout(_WAIT_SECONDS):
            while (chief := self._chief()) != await self.leader(stream):
                await self._prefer(stream, chief)
        return chief

    async def lead(self, stream: str, name: str) -> None:
        """Moves the stream's leader to the node."""
        async with asyncio.timeout(_WAIT_SECONDS):
            while await self.leader(stream) != name:
                await self._prefer(stream, name)

    async def _prefer(self, stream: str, name: str) -> None:
        request = msgspec.json.encode({"placement": {"preferred": name}})
        # Between two leaders no server answers; the caller tries again.
        with contextlib.suppress(NatsError):
            await self.client.request(f"$JS.API.STREAM.LEADER.STEPDOWN.{stream}", request, timeout=5)

    def _chief(self) -> str:
        """The node that leads JetStream's metadata, found in the servers' logs."""
        leads: list[tuple[str, str]] = []
        for name, folder in self._folders.items():
            lines = (folder / "server.log").read_text().splitlines()
            leads += [(line.split("] ", 1)[1], name) for line in lines if _LEADS in line]
        return max(leads)[1]

    def cut(self, name: str) -> None:
        """Partitions the node from both others; clients still reach it."""
        assert self.links is not None
        self.links.cut(name)

    def heal(self, name: str) -> None:
        assert self.links is not None
        self.links.heal(name)

    async def step_down(self, stream: str) -> None:
        """Makes the stream's leader step down, so that the nodes elect another."""
        answer = await self.client.request(f"$JS.API.STREAM.LEADER.STEPDOWN.{stream}", b"", timeout=60)
        assert b'"success":true' in answer.data.replace(b" ", b""), answer.data

    async def stop(self) -> None:
        await self.client.close()
        await asyncio.gather(*(node.stop() for node in self.nodes.values()))
        if self.links is not None:
            await self.links.stop()

    async def _group(self, stream: str, condition: Callable[[Group], bool]) -> Group:
        async with asyncio.timeout(_WAIT_SECONDS):
            while True:
                try:
                    answer = await self.client.request(f"$JS.API.STREAM.INFO.{stream}", b"", timeout=1)
                except NatsError:
                    answer = None
                if answer is not None and condition(group := STREAM_INFO.decode(answer.data).cluster):
                    return group
                await asyncio.sleep(_POLL_SECONDS)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    """Three running nodes with the streams on all of them, for tests on the module's event loop."""
    cluster = Cluster(tmp_path_factory.mktemp("cluster"))
    try:
        await cluster.start()
        cluster.client = await cluster.connect()
        await ensure_streams(cluster.client, replicas=SIZE, patience=_WAIT_SECONDS)
        yield cluster
    finally:
        await cluster.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def linked_cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    """Like `cluster`, with nodes that can be partitioned, and with the quorum stream."""
    cluster = Cluster(tmp_path_factory.mktemp("linked"), linked=True)
    try:
        await cluster.start()
        cluster.client = await cluster.connect()
        await ensure_streams(cluster.client, replicas=SIZE, patience=_WAIT_SECONDS)
        await ensure_quorum(cluster.client, replicas=SIZE, patience=_WAIT_SECONDS)
        yield cluster
    finally:
        await cluster.stop()


async def _expected(error: Exception) -> None:
    """Ignores errors: killed servers break connections, and the client reconnects."""


def _is_suspended(pid: int) -> bool:
    """Whether all threads of the process are; see proc(5)."""
    try:
        states = [task.read_text().rpartition(")")[2].split()[0] for task in Path(f"/proc/{pid}/task").glob("*/stat")]
    except (FileNotFoundError, ProcessLookupError):
        return False  # a thread has just ended
    return set(states) == {"T"}
