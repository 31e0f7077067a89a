"""NATS, PostgreSQL, two replicas of every service and two gateways, each process of a release of its own choice."""

import asyncio
import json
import signal
from collections.abc import Mapping
from pathlib import Path

import msgspec
import psycopg

from contracts.services import DEFAULT_ADDRESSES, GATEWAY, LOOPBACK, OPERATOR, REGISTRY, SERVICES, service_of
from infra.embedded.child_process import Child
from infra.embedded.nats_server import NatsServer
from infra.embedded.ports import free_port
from infra.embedded.postgres_server import DATABASE, PostgresServer
from infra.security.postgres_roles import url_of
from infra.security.secrets import TOPOLOGY, Secrets
from infra.supervisor.readiness_probes import grpc_health, http_ok
from tests.upgrade.releases import Release

REPLICAS = 2
# Seconds; a shared machine is slow.
_READY_WITHIN = 300.0
_STOP_WITHIN = 60.0
# Verifications run at a low priority.
_COMMAND_WITHIN = 600.0
_POLL = 0.05
_STOP_DELAY = 1.0
_RELOADED = "Reloaded server configuration"


class _Nats(NatsServer):
    """A server whose accounts are those that a release prints."""

    block: Mapping[str, object] = {}

    def _settings(self) -> dict[str, object]:
        return {**super()._settings(), **self.block}

    async def reload(self) -> None:
        config = self._folder / "nats.conf"
        config.write_text(json.dumps(json.loads(config.read_text()) | self.block))
        before = self._reloads()
        self._running().send(signal.SIGHUP)
        async with asyncio.timeout(_READY_WITHIN):
            while self._reloads() == before:
                await asyncio.sleep(_POLL)

    def _reloads(self) -> int:
        return (self._folder / "server.log").read_text(errors="replace").count(_RELOADED)


class Process:
    """One replica of a service, at the same address whatever release it runs."""

    def __init__(self, service: str, number: int, folder: Path) -> None:
        self.service = service
        self.number = number
        self.name = f"{service}.{number + 1}"
        self.port = free_port()
        self.rest_port = free_port() if REGISTRY[service].rest_port else 0
        self.log = folder / f"{self.name}.log"
        self.release: Release | None = None
        self.child: Child | None = None

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    async def is_ready(self) -> bool:
        is_gateway = self.service == GATEWAY
        probe = http_ok(LOOPBACK, self.port, "/readyz") if is_gateway else grpc_health(LOOPBACK, self.port)
        return await probe()


class Deployment:
    """Everything as on machines of one's own: servers, keys and processes, without `vestnik up`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._secrets_folder = folder / "secrets"
        self._nats: _Nats
        self._postgres = PostgresServer(folder / "postgres", settings={"fsync": "off"})
        self.mail = folder / "data" / "mail"
        self.processes = [
            Process(service, number, folder)
            for service in REGISTRY
            for number in range(1 if REGISTRY[service].optional else REPLICAS)
        ]

    @property
    def gateways(self) -> list[Process]:
        return [process for process in self.processes if process.service == GATEWAY]

    async def start(self, release: Release) -> None:
        block = json.loads(await self.vestnik(release, "nats-config"))
        # Also the passwords of parties that the release does not have.
        secrets = Secrets.create(self._secrets_folder)
        self._nats = _Nats(self._folder / "nats", passwords=secrets.nats_passwords())
        self._nats.block = block
        await asyncio.gather(self._nats.start(), self._postgres.start())
        await self._prepare_servers(release)
        present = [process for process in self.processes if release.has(process.service)]
        for process in present:
            await self._launch(process, release)
        for process in present:
            await self._wait_ready(process)

    async def stop(self) -> None:
        for service in (GATEWAY, *(service for service in REGISTRY if service != GATEWAY)):
            running = [
                process for process in self.processes if process.service == service and process.child is not None
            ]
            await asyncio.gather(
                *(process.child.stop(signal.SIGTERM, _STOP_WITHIN) for process in running if process.child)
            )
        await asyncio.gather(self._nats.stop(), self._postgres.stop())

    async def prepare(self, release: Release) -> None:
        """Does what precedes the replacement of processes: rights at NATS and PostgreSQL, and streams."""
        self._nats.block = json.loads(await self.vestnik(release, "nats-config"))
        # The server connects an account that is new to the streams' account with the reload after the one that adds it.
        await self._nats.reload()
        await self._nats.reload()
        await self._prepare_servers(release)

    async def _prepare_servers(self, release: Release) -> None:
        logins = await self.vestnik(release, "postgres-logins", "--database", DATABASE)
        async with await psycopg.AsyncConnection.connect(self._postgres.url) as connection:
            await connection.execute(logins.encode())
        await self.vestnik(release, "streams", party=TOPOLOGY)

    async def replace(self, process: Process, release: Release) -> None:
        """Stops one process with SIGTERM, and starts the same of the release, if it has one, until it is ready."""
        if process.child is not None:
            await self.end(process)
        if release.has(process.service):
            await self._launch(process, release)
            await self._wait_ready(process)

    async def end(self, process: Process) -> None:
        assert process.child is not None
        code = await process.child.stop(signal.SIGTERM, _STOP_WITHIN)
        assert code == 0, f"{process.name} of the {process.release} ended with {code}:\n{process.log.read_text()}"
        process.child = None

    async def vestnik(self, release: Release, *arguments: str, party: str = OPERATOR) -> str:
        """The output of a command of the release; fails unless it succeeds."""
        environ = self._environ(release, party)
        process = await asyncio.create_subprocess_exec(
            *release.command(*arguments),
            cwd=release.root,
            env=environ,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(_COMMAND_WITHIN):
            output, errors = await process.communicate()
        assert process.returncode == 0, f"{release.name}: vestnik {arguments}: {output.decode()}{errors.decode()}"
        return output.decode()

    def errors(self) -> list[str]:
        """The lines of the processes' output that report an error, or are no log lines."""
        return [
            f"{process.name}: {line}"
            for process in self.processes
            if process.log.exists()
            for line in process.log.read_text().splitlines()
            if _level(line) not in ("debug", "info", "warning")
        ]

    async def _launch(self, process: Process, release: Release) -> None:
        own = {"VESTNIK_LISTEN": f"{LOOPBACK}:{process.port}"} if process.service != GATEWAY else {}
        if process.service == GATEWAY:
            own["VESTNIK_PORT"] = str(process.port)
            own["VESTNIK_STOP_DELAY_SECONDS"] = str(_STOP_DELAY)
        if process.rest_port:
            own["VESTNIK_REST_LISTEN"] = f"{LOOPBACK}:{process.rest_port}"
        process.child = await Child.start(
            release.command("serve", process.service),
            death_signal=signal.SIGKILL,
            folder=release.root,
            environ=self._environ(release, process.service) | own,
            log_file=process.log,
        )
        process.release = release

    async def _wait_ready(self, process: Process) -> None:
        async with asyncio.timeout(_READY_WITHIN):
            while not await process.is_ready():
                assert process.child is not None
                code = process.child.exit_code
                assert code is None, f"{process.name} ended with {code}:\n{process.log.read_text()}"
                await asyncio.sleep(_POLL)

    def _environ(self, release: Release, party: str) -> dict[str, str]:
        """Settings that every release has: one that a release does not know is refused by it."""
        environ = release.environment(self._folder / "bytecode") | {
            "VESTNIK_SECRETS_DIR": str(self._secrets_folder),
            "VESTNIK_DATA_DIR": str(self._folder / "data"),
            "VESTNIK_PUBLIC_URL": self.gateways[0].url,
            "VESTNIK_METRICS_LISTEN": "off",
            "VESTNIK_LOG_FORMAT": "json",
            "VESTNIK_BCRYPT_COST": "4",
        }
        for name in filter(lambda name: release.has(service_of(name)), DEFAULT_ADDRESSES):
            replicas = [process for process in self.processes if process.service == service_of(name)]
            ports = [process.port if name in REGISTRY else process.rest_port for process in replicas]
            environ[f"VESTNIK_{name.upper()}_ADDRESS"] = ",".join(f"{LOOPBACK}:{port}" for port in ports)
        if hasattr(self, "_nats"):
            environ["VESTNIK_NATS_URL"] = self._nats.url_of(party)
            if party in SERVICES:
                password = Secrets.load(self._secrets_folder).database_password(party)
                environ["VESTNIK_DATABASE_URL"] = url_of(self._postgres.url, party, password)
        return environ


def _level(line: str) -> str:
    try:
        return str(msgspec.json.decode(line)["level"]).lower()
    except (msgspec.DecodeError, KeyError, TypeError):
        return ""
