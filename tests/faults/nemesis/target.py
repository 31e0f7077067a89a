"""What faults act on: a running deployment, and the control of its NATS cluster that none of its own parties has."""

import asyncio
import json
import secrets
import ssl
from pathlib import Path

from nats.aio.client import Client
from nats.errors import Error as NatsError

from contracts.subjects import STREAMS
from tests.rehearsal.cluster import Cluster
from tests.rehearsal.deployment import Deployment
from tests.stream_replicas import STREAM_INFO, Group

_NAME, _STORE, _SYSTEM = "laboratory", "STORE", "$SYS"
_WHOLE_WITHIN = 300.0
_ANSWER_WITHIN = 2.0


class Target:
    """`Target.prepare` once between the deployment's secrets and its start; `connect` once it runs."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        # Backups of stores, and what else faults keep.
        self.folder = deployment.folder / "faults"
        self._password = secrets.token_hex(16)
        self._clients: dict[str, Client] = {}

    @property
    def cluster(self) -> Cluster:
        return self.deployment.cluster

    def prepare(self) -> None:
        """Adds users of our own to the NATS accounts that have none."""
        self.folder.mkdir()
        path = self.deployment.secrets / "nats" / "accounts.conf"
        content = json.loads(path.read_text())
        for account in (_STORE, _SYSTEM):
            users = {"users": [{"user": f"{_NAME}{account}", "password": self._password}]}
            content["accounts"].setdefault(account, {}).update(users)
        path.write_text(json.dumps(content))

    def disk(self, name: str) -> Path:
        """The folder with the data of a server."""
        return self.deployment.folder / "volumes" / name

    def clock(self, name: str) -> Path:
        """The folder with the offset of a host's clock."""
        return self.folder / f"{name}.clock"

    async def connect(self) -> None:
        for account in (_STORE, _SYSTEM):
            self._clients[account] = await self._client(f"{_NAME}{account}")

    async def close(self) -> None:
        for client in self._clients.values():
            await client.close()

    async def leader(self, stream: str) -> str:
        """Waits until the stream has a leader, and returns the node's name."""
        async with asyncio.timeout(_WHOLE_WITHIN):
            while not (group := await self._group(stream)).leader:
                await asyncio.sleep(0.1)
        return group.leader

    async def step_down(self, stream: str) -> None:
        """Makes the stream's leader step down; the nodes elect another."""
        await self._repeat(_STORE, f"$JS.API.STREAM.LEADER.STEPDOWN.{stream}")

    async def step_down_metadata(self) -> None:
        """Makes the leader of JetStream's metadata step down."""
        await self._repeat(_SYSTEM, "$JS.API.META.LEADER.STEPDOWN")

    async def until_whole(self) -> None:
        """Waits until every stream has a leader and a current copy on every node.

        Raises:
            AssertionError: a stream is not whole in time.
        """
        behind = ""
        try:
            async with asyncio.timeout(_WHOLE_WITHIN):
                for stream in STREAMS:
                    while behind := await self._behind(stream):
                        await asyncio.sleep(0.2)
        except TimeoutError:
            raise AssertionError(f"not whole within {_WHOLE_WITHIN:.0f} s: {behind}") from None

    async def _behind(self, stream: str) -> str:
        """What a stream lacks; empty if it is whole."""
        group = await self._group(stream)
        if not group.leader:
            return f"{stream} has no leader"
        lacking = [replica.name for replica in group.replicas if replica.offline or not replica.current]
        if lacking or len(group.replicas) != len(self.cluster.names("nats")) - 1:
            return f"{stream}, led by {group.leader}, on {', '.join(lacking) or 'too few nodes'}"
        return ""

    async def _group(self, stream: str) -> Group:
        try:
            return STREAM_INFO.decode(await self._request(_STORE, f"$JS.API.STREAM.INFO.{stream}")).cluster
        except (NatsError, AssertionError):
            return Group()

    async def _repeat(self, account: str, subject: str) -> None:
        """Repeats the request until it succeeds: the own connection may be to a node that another fault acts on."""
        async with asyncio.timeout(_WHOLE_WITHIN):
            while True:
                try:
                    await self._request(account, subject)
                    return
                except (NatsError, AssertionError):
                    await asyncio.sleep(0.2)

    async def _request(self, account: str, subject: str) -> bytes:
        """
        Raises:
            AssertionError: the answer is an error.
            NatsError: there is no answer.
        """
        answer = await self._clients[account].request(subject, b"", timeout=_ANSWER_WITHIN)
        content = json.loads(answer.data)
        assert "error" not in content, f"{subject}: {content}"
        return answer.data

    async def _client(self, user: str) -> Client:
        client = Client()
        await client.connect(
            [f"tls://{name}:4222" for name in self.cluster.names("nats")],
            user=user,
            password=self._password,
            tls=ssl.create_default_context(cafile=str(self._authority)),
            max_reconnect_attempts=-1,
            reconnect_time_wait=1,
            ping_interval=2,
            max_outstanding_pings=2,
            error_cb=_expected,
        )
        return client

    @property
    def _authority(self) -> Path:
        return self.deployment.secrets / "secrets" / "tls-ca.pem"


async def _expected(error: Exception) -> None:
    """A node that ends or cannot be reached is an error to the client library."""
