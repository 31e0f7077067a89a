"""The whole system on one machine: starts servers, then services and gateway; stops them in reverse order."""

import asyncio
import os
import signal
import socket
import time
from collections.abc import Sequence
from functools import partial

import msgspec

from contracts.services import OPERATOR
from contracts.subjects import BUCKETS
from infra import url_files
from infra.embedded.nats_server import NatsServer
from infra.embedded.ports import reserve_ports
from infra.embedded.postgres_server import PostgresServer
from infra.embedded.store_space import StoreSpace
from infra.provisioning.certificates import make_certificates
from infra.rpc.tls import client_side
from infra.runtime import data_dir, import_marker, run_file
from infra.runtime.connections import connect_nats
from infra.security.postgres_roles import url_of
from infra.security.secrets import TOPOLOGY, Secrets
from infra.security.service_schemas import ServiceSchemas
from infra.settings import Settings
from infra.supervisor import readiness_probes
from infra.supervisor.forking.fork_server import ForkServer
from infra.supervisor.gateway_socket import listen
from infra.supervisor.log_console import Console
from infra.supervisor.log_filter import is_worth_logging
from infra.supervisor.process_plan import Layout, ProcessSpec, UrlOf, absolute, gateway_url, lay_out
from infra.supervisor.reported_task import start_reported
from infra.supervisor.service_program import ServiceProgram, StartProcess
from infra.supervisor.supervised_process import Supervised
from streams.jetstream.api import JetStream
from streams.topology import Placement, ensure_limits, ensure_streams, prepare_bucket

STILL_WAITING_EVERY = 10.0


class System:
    """Runs everything until `stop` is called or a signal arrives."""

    def __init__(self, settings: Settings, console: Console, *, start_process: StartProcess | None = None) -> None:
        """`start_process`: starts the services' processes, instead of a fork server."""
        self._settings = absolute(settings, settings.data_dir)
        self._console = console
        self._fork_server: ForkServer | None = None
        if start_process is None:
            self._fork_server = ForkServer(console.line_writer("fork-server"))
            start_process = self._fork_server.start_process
        self._start_process = start_process
        self._stop = asyncio.Event()
        self._servers: list[Supervised] = []
        self._services: list[Supervised] = []
        self._gateways: list[Supervised] = []
        # Sockets that hold the services' ports while a process restarts.
        self._held: list[socket.socket] = []
        self._watching_space: asyncio.Task[None] | None = None
        self.ready = asyncio.Event()

    def stop(self) -> None:
        """Starts a graceful stop; a second call kills everything."""
        if self._stop.is_set():
            self._console.say("stopping at once")
            for process in self._everything():
                process.kill()
            return
        self._stop.set()

    async def run(self) -> None:
        """Starts everything, reports when it is ready, and stops it again on request.

        Raises:
            OperatorError: the system cannot run; everything that was started has been stopped.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self.stop)
        claim = await data_dir.claim(self._settings.data_dir)
        try:
            run_file.remove(self._settings.data_dir)
            with listen(self._settings.host, self._settings.port) as listener:
                self._settings = msgspec.structs.replace(self._settings, port=listener.getsockname()[1])
                await self._run_until_stopped(listener)
        finally:
            for holder in self._held:
                holder.close()
            os.close(claim)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                loop.remove_signal_handler(number)

    async def _run_until_stopped(self, listener: socket.socket) -> None:
        stopped = asyncio.create_task(self._stop.wait())
        bringing_up = asyncio.create_task(self._start_all(listener))
        try:
            await asyncio.wait({stopped, bringing_up}, return_when=asyncio.FIRST_COMPLETED)
            if bringing_up.done():
                await bringing_up
                await asyncio.wait({stopped, *self._supervisions()}, return_when=asyncio.FIRST_COMPLETED)
                for supervision in self._supervisions():
                    if supervision.done():
                        await supervision  # it ends by itself only by failing
        finally:
            for task in (stopped, bringing_up):
                task.cancel()
            await asyncio.wait({stopped, bringing_up})
            await self._stop_all()

    async def _start_all(self, listener: socket.socket) -> None:
        began = time.monotonic()
        Secrets.create(self._settings.secrets_path)
        if self._settings.rpc_tls == "on":
            make_certificates(self._settings.secrets_path)
        self._settings, nats, postgres = await self._start_servers()
        if nats is not None:
            await self._make_streams(nats)
        layout = lay_out(
            self._settings,
            self._reserve,
            nats.url_of if nats is not None else None,
            postgres.url_of if postgres is not None else await self._logins_at_given_database(),
        )
        self._services = [self._service(spec) for spec in layout.services]
        self._gateways = [self._gateway(spec, listener) for spec in layout.gateways]
        for process in (*self._services, *self._gateways):
            process.start()
        self._write_run_file(layout)
        await self._all_ready([*self._services, *self._gateways])
        self._console.say(f"all processes are ready after {time.monotonic() - began:.1f} s; Ctrl-C stops it")
        self._console.say(f"Vestnik is ready: {gateway_url(self._settings)}")
        self.ready.set()

    def _reserve(self, count: int) -> list[int]:
        self._held = reserve_ports(count)
        return [int(holder.getsockname()[1]) for holder in self._held]

    async def _start_servers(self) -> tuple[Settings, NatsServer | None, PostgresServer | None]:
        """Starts the servers that the settings do not name.

        Returns:
            Settings that name all servers, with the operator's logins; and the servers started here.
        """
        settings, secrets = self._settings, Secrets.load(self._settings.secrets_path)
        everything = settings.log_level == "debug"
        if self._fork_server is not None:
            self._servers.append(Supervised("fork-server", self._fork_server, readiness_probes.always, self._console))
        nats = postgres = None
        if not settings.nats_url:
            nats = NatsServer(
                settings.data_dir / "nats",
                passwords=secrets.nats_passwords(),
                on_line=self._console.line_writer("nats", is_worth_logging("nats", everything)),
            )
            self._servers.append(Supervised("nats", nats, readiness_probes.always, self._console))
        if not settings.database_url:
            postgres = PostgresServer(
                settings.data_dir / "postgres",
                password=secrets.postgres_password,
                passwords=secrets.database_passwords(),
                on_line=self._console.line_writer("postgres", is_worth_logging("postgres", everything)),
            )
            self._servers.append(Supervised("postgres", postgres, readiness_probes.always, self._console))
        for server in self._servers:
            server.start()
        if settings.nats_url:
            await readiness_probes.given_nats_answers(settings)
        if settings.database_url:
            await readiness_probes.given_database_answers(settings)
        await self._all_ready(self._servers)
        if nats is not None:
            report = partial(self._console.line, "nats")
            space = StoreSpace(nats, settings.data_dir, report)
            self._watching_space = start_reported(
                space.run(), "watch of the space for events", partial(report, level="ERROR")
            )
        named = msgspec.structs.replace(
            settings,
            nats_url=nats.url_of(OPERATOR) if nats is not None else settings.nats_url,
            database_url=postgres.url_of(OPERATOR) if postgres is not None else settings.database_url,
        )
        return named, nats, postgres

    async def _logins_at_given_database(self) -> UrlOf | None:
        """The services' own logins at the given database, if `vestnik postgres-logins` was run there; else None."""
        database_url = self._settings.database_url
        if not (await ServiceSchemas.discover(database_url)).are_separate:
            return None
        secrets = Secrets.load(self._settings.secrets_path)
        return lambda service: url_of(url_files.read(database_url), service, secrets.database_password(service))

    async def _make_streams(self, nats: NatsServer) -> None:
        """Creates the streams as `topology`. Services have no right to: changing a stream could lose events."""
        settings = msgspec.structs.replace(self._settings, nats_url=nats.url_of(TOPOLOGY))
        connection = await connect_nats(settings, TOPOLOGY)
        try:
            if await import_marker.get_import_marker(JetStream(connection)) is not None:
                raise import_marker.ImportUnderWay
            placement = Placement.parse(settings.stream_placement)
            await ensure_streams(connection, replicas=settings.stream_replicas, placement=placement)
            await ensure_limits(connection, replicas=settings.stream_replicas, placement=placement)
            for bucket in BUCKETS:
                await prepare_bucket(
                    connection, bucket, replicas=settings.stream_replicas, placement=placement, attempts=1
                )
        finally:
            await connection.close()

    def _service(self, spec: ProcessSpec) -> Supervised:
        program = ServiceProgram(
            self._start_process,
            spec.service,
            spec.settings.environment(),
            self._console.line_writer(spec.name),
            drain_seconds=spec.settings.drain_seconds,
            hang_seconds=spec.settings.hang_seconds,
            on_hang=partial(self._console.line, spec.name, level="ERROR"),
        )
        return Supervised(
            spec.name,
            program,
            readiness_probes.grpc_health(*spec.address, client_side(spec.settings, OPERATOR, spec.service)),
            self._console,
        )

    def _gateway(self, spec: ProcessSpec, listener: socket.socket) -> Supervised:
        settings = spec.settings
        host, port = listener.getsockname()[:2]
        program = ServiceProgram(
            self._start_process,
            spec.service,
            settings.environment(),
            self._console.line_writer(spec.name),
            drain_seconds=settings.stop_delay_seconds + settings.drain_seconds,
            descriptors={"VESTNIK_LISTEN_FD": listener.fileno()},
            hang_seconds=settings.hang_seconds,
            on_hang=partial(self._console.line, spec.name, level="ERROR"),
        )
        reachable = "127.0.0.1" if host == "0.0.0.0" else host  # noqa: S104 - asked, not bound
        return Supervised(spec.name, program, readiness_probes.http_ok(reachable, port, "/readyz"), self._console)

    def _write_run_file(self, layout: Layout) -> None:
        """Writes the run file. Commands find the system even while a part is not ready, and report which one."""
        running = run_file.RunFile(
            pid=os.getpid(),
            gateway_url=gateway_url(self._settings),
            nats_url=self._settings.nats_url,
            database_url=self._settings.database_url,
            addresses=dict(layout.addresses),
            metrics={
                service: [f"http://{address}/metrics" for address in addresses]
                for service, addresses in layout.metrics.items()
            },
        )
        run_file.write(self._settings.data_dir, running)

    async def _all_ready(self, parts: Sequence[Supervised]) -> None:
        """Waits for all parts, however long recovery takes; periodically logs those that are not ready."""
        waiting = {asyncio.create_task(part.became_ready(), name=part.name) for part in parts}
        try:
            while waiting:
                done, waiting = await asyncio.wait(
                    waiting, timeout=STILL_WAITING_EVERY, return_when=asyncio.FIRST_COMPLETED
                )
                for task in done:
                    await task
                if not done:
                    names = ", ".join(sorted(task.get_name() for task in waiting))
                    self._console.say(f"waiting for {names}")
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    async def _stop_all(self) -> None:
        run_file.remove(self._settings.data_dir)
        self._console.say("stopping")
        if self._watching_space is not None:
            self._watching_space.cancel()
        for stage in (self._gateways, self._services, self._servers):
            await asyncio.gather(*(process.stop() for process in stage))
        self._console.say("stopped")

    def _everything(self) -> list[Supervised]:
        return [*self._gateways, *self._services, *self._servers]

    def _supervisions(self) -> list[asyncio.Task[None]]:
        return [process.supervision for process in self._everything() if process.supervision is not None]
