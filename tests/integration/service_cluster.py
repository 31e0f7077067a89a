"""Several services as replicated processes, with their own NATS and PostgreSQL servers."""

import asyncio
import secrets
import signal
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
import nats as nats_py
from nats.aio.client import Client as NATS

from contracts.envelope import Provenance, seal
from contracts.events.event import Event
from contracts.events.user import UserCreated, UserEmailVerified, UserErased
from contracts.positions import Position
from contracts.subjects import AUTH, user
from contracts.values.ids import new_id
from infra.embedded.child_process import Child
from infra.embedded.nats_server import NatsServer
from infra.embedded.ports import free_port
from infra.embedded.postgres_server import PostgresServer
from infra.rpc.call_context import Call
from infra.rpc.client import Client
from infra.security.key_lifecycle import KeyTerms
from infra.security.secrets import Secrets
from infra.settings import Settings
from infra.supervisor.forking.fork_server import ForkServer
from infra.supervisor.readiness_probes import grpc_health
from streams.log import Append, Log
from streams.personal_data.data_keys import DataKeys
from streams.personal_data.key_store import KeyStore
from streams.personal_data.reading import unseal_with
from streams.personal_data.unsealer import Unsealer
from streams.topology import ensure_streams
from tests.fix_cluster import SIZE, Cluster
from tests.integration.authorized_client import ActingClient

_READY_WITHIN = 60.0
_REPLICAS = 2
# Returns settings of single replicas, by service and number, from the common settings.
Own = Callable[[Settings], Mapping[tuple[str, int], Mapping[str, str]]]


def seen(position: str, actor: str | None = None) -> Call:
    """A call by a client that has seen the position."""
    return Call(request_id=new_id(), position=Position.decode(position), actor=actor)


class House:
    def __init__(
        self, folder: Path, services: tuple[str, ...], *, cluster: Cluster | None = None, **settings: object
    ) -> None:
        """`cluster`: used instead of a NATS server of its own; `settings`: settings of all services."""
        self._folder = folder
        self._services = services
        self._cluster = cluster
        self._own_settings = settings
        self._nats_server = NatsServer(folder / "nats")
        self._postgres = PostgresServer(folder / "postgres", settings={"fsync": "off"})
        self._forks = ForkServer(print)
        self._processes: dict[tuple[str, int], Child] = {}
        self._clients: list[Client] = []
        self.secrets = Secrets.create(folder / "secrets")
        self.settings = Settings()
        self.nats: NATS
        self.log: Log

    async def start(self, own: Own = lambda settings: {}) -> None:
        nats_url, database_url, _ = await asyncio.gather(
            self._start_nats(), self._postgres.start(), self._forks.start()
        )
        addresses = {
            service: [f"127.0.0.1:{free_port()}" for _ in range(_REPLICAS)]
            for service in (*self._services, "profile_rest")
        }
        self.settings = msgspec.structs.replace(
            Settings(data_dir=self._folder, nats_url=nats_url, database_url=database_url, bcrypt_cost=4),
            stream_replicas=1 if self._cluster is None else SIZE,
            **self._own_settings,
        ).with_addresses(addresses)
        self.nats = await nats_py.connect(nats_url.split(","))
        master_keys = self.secrets.personal_data_keys(KeyTerms.of(self.settings))
        unseal_with(self.nats, Unsealer(DataKeys(KeyStore(self.nats), master_keys)))
        await ensure_streams(self.nats, replicas=self.settings.stream_replicas)
        self.log = Log(self.nats)
        settings = own(self.settings)
        await asyncio.gather(
            *(
                self.start_replica(service, number, settings.get((service, number), {}))
                for service in self._services
                for number in range(_REPLICAS)
            )
        )

    async def stop(self) -> None:
        for client in self._clients:
            client.close()
        for process in self._processes.values():
            process.send(signal.SIGTERM)
        for process in self._processes.values():
            await asyncio.wait_for(process.wait(), 60)
        await self.nats.close()
        await asyncio.gather(self._forks.stop(), self._nats_server.stop(), self._postgres.stop())

    async def _start_nats(self) -> str:
        if self._cluster is None:
            return await self._nats_server.start()
        return ",".join(node.url for node in self._cluster.nodes.values())

    async def start_replica(self, service: str, number: int, settings: Mapping[str, str] | None = None) -> None:
        host, port = self.settings.addresses_of(service)[number]
        rest_host, rest_port = self.settings.addresses_of("profile_rest")[number]
        own = {
            "VESTNIK_LISTEN": f"{host}:{port}",
            "VESTNIK_REST_LISTEN": f"{rest_host}:{rest_port}",
        }
        environment = self.settings.environment() | own | dict(settings or {})
        process = await self._forks.start_process(service, environment, {}, print)
        self._processes[service, number] = process
        probe = grpc_health(host, port)
        async with asyncio.timeout(_READY_WITHIN):
            while not await probe():
                assert process.exit_code is None, f"{service} ended"
                await asyncio.sleep(0.02)

    async def kill(self, service: str) -> None:
        """Kills every replica of a service with SIGKILL, and starts them again."""
        for number in range(_REPLICAS):
            process = self._processes[service, number]
            process.kill()
            await process.wait()
        await asyncio.gather(*(self.start_replica(service, number) for number in range(_REPLICAS)))

    async def terminate(self, service: str, number: int) -> int:
        """Sends SIGTERM to one replica; returns its exit code."""
        process = self._processes[service, number]
        process.send(signal.SIGTERM)
        return await asyncio.wait_for(process.wait(), 60)

    def client(self, service: str, replica: int | None = None, *, me: str | None = None) -> Client:
        """A client of all replicas in turn, or of one; calls as a permitted service, or as `me`."""
        settings = self.settings
        if replica is not None:
            host, port = settings.addresses_of(service)[replica]
            settings = settings.with_addresses({service: [f"{host}:{port}"]})
        client = ActingClient(service, me=me, settings=settings, secrets=self.secrets)
        self._clients.append(client)
        return client

    async def register(self, username: str, display_name: str | None = None) -> tuple[str, str]:
        """Appends a user with a verified address; returns the id and the position of the verification."""
        user_id, _ = await self.register_unverified(username, display_name)
        return user_id, await self.verify(user_id)

    async def register_unverified(self, username: str, display_name: str | None = None) -> tuple[str, str]:
        """Appends a user as auth would; returns the id and the position of the registration."""
        user_id = new_id()
        position = await self._append(user_id, 0, 1, UserCreated(username=username, display_name=display_name))
        return user_id, position

    async def verify(self, user_id: str) -> str:
        """Appends the verification of the user's address; returns its position."""
        last = await self.log.last_sequence(user(user_id))
        return await self._append(user_id, last, 2, UserEmailVerified())

    async def erase(self, user_id: str, reason: str = "requested") -> str:
        """Appends the erasure of a user as auth would; returns its position."""
        last = await self.log.last_stored(user(user_id))
        assert last is not None
        return await self._append(user_id, last.sequence, last.envelope().version + 1, UserErased(reason=reason))

    async def _append(self, user_id: str, expected: int, version: int, event: Event) -> str:
        envelope = seal(event, aggregate_id=user_id, version=version, provenance=Provenance())
        sequence = await self.log.append(Append(subject=user(user_id), expected=expected, envelope=envelope))
        return Position.at(AUTH, sequence).encode()


async def people(house: House, count: int = 2) -> list[str]:
    """Registers users; returns their ids."""
    return [(await house.register(f"u{secrets.token_hex(6)}"))[0] for _ in range(count)]
