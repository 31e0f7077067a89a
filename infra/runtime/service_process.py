"""Lifecycle of a service process: connections, its own stream, background tasks, the gRPC server, graceful shutdown.

If a background task fails, or the client gives up the NATS connection, the process exits with code 1 and the supervisor
restarts it. A process that went on without its projection or its reaction would look healthy and be wrong.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Collection, Coroutine
from contextlib import asynccontextmanager

from nats.aio.client import Client as NATS
from prometheus_client import Gauge

from contracts.services import SERVICES, permitted_callers
from contracts.subjects import BUCKETS, OPERATOR, STREAMS
from infra.checkpoints import Checkpoints
from infra.personal_data.data_key_client import DataKeyClient
from infra.rpc.client import Client
from infra.rpc.server import RpcServer, Servable
from infra.rpc.tls import server_side
from infra.runtime import import_marker
from infra.runtime.connections import Pool, open_pool
from infra.runtime.database_probe import DatabaseWatch
from infra.runtime.event_store import StopRequested, open_event_store
from infra.runtime.gc_tuning import tune_gc
from infra.runtime.metrics_endpoint import metrics_endpoint
from infra.runtime.stop_signals import stop_at_signals
from infra.security.certificate_expiry import report_expiry
from infra.security.key_lifecycle import KeyTerms
from infra.security.secrets import Secrets
from infra.settings import BadSetting, Settings
from infra.url_files import DatabaseUrl
from streams.log import Log
from streams.loss.watch import Checkpoint, LossWatch
from streams.personal_data.data_keys import DataKeys
from streams.personal_data.key_store import KeyStore
from streams.personal_data.reading import unseal_with
from streams.personal_data.sealer import CreateKeys, Sealer
from streams.personal_data.unsealer import Unsealer
from streams.personal_data.writing import seal_with
from streams.quorum import Quorum
from streams.topology import Placement, prepare_bucket

log = logging.getLogger(__name__)
_READINESS_STEP = 0.2
# Auth itself needs no call.
_CREATE_KEYS = "/vestnik.auth.v1.AuthService/CreateDataKeys"
_CANCEL_INTERVAL = 0.5
DEPENDENCY_UP = Gauge(
    "vestnik_dependency_up", "1 while a part that this process depends on answers, 0 otherwise.", ("dependency",)
)


class ServiceProcess:
    """The resources of a running service: connections, log, loss watches, background tasks."""

    def __init__(
        self,
        name: str,
        settings: Settings,
        secrets: Secrets,
        nats: NATS,
        pool: Pool | None,
        quorum: Quorum | None = None,
        *,
        stop: asyncio.Event | None = None,
    ) -> None:
        """`pool`: None for a service without read models.

        `quorum`: None where the streams have no replicas, so that every read is authoritative.

        `stop`: set when the process has to stop; without it SIGTERM and SIGINT stop the process.
        """
        self.name = name
        self.settings = settings
        self.secrets = secrets
        self.nats = nats
        self._pool = pool
        self.quorum = quorum
        self.watches = {
            stream: LossWatch(nats, stream, _checkpoint(pool, stream), quorum=quorum)
            for stream, owner in STREAMS.items()
            if owner == name
        }
        self.log = Log(nats, quorum=self.quorum, watches=self.watches)
        self.data_keys = DataKeys(KeyStore(nats), secrets.personal_data_keys(KeyTerms.of(settings)))
        # For what this process reads from the streams.
        self.unsealer = Unsealer(self.data_keys)
        unseal_with(nats, self.unsealer)
        self._sealer: Sealer | None = None
        self._stop = stop or stop_at_signals()
        self._failed = False
        self._closing = False
        self._ready = False
        # Set once the process accepts calls, or stops before that.
        self._accepting = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._clients: list[Client] = []
        self._conditions: list[Callable[[], bool]] = []
        # Whether the database is not known to be silent.
        self.database_answers: Callable[[], bool] = lambda: True

    def seal(self, create: CreateKeys) -> None:
        """Has the process seal what it appends. `create`: creates keys of personal data."""
        self._sealer = Sealer(self.data_keys, create)
        seal_with(self.nats, self._sealer)

    @property
    def sealer(self) -> Sealer:
        """The sealer of a service that appends personal data."""
        assert self._sealer is not None
        return self._sealer

    @property
    def pool(self) -> Pool:
        """The pool of a service with read models."""
        assert self._pool is not None
        return self._pool

    def client(self, target: str) -> Client:
        """A client of another service; closed with the process."""
        client = Client(target, me=self.name, settings=self.settings, secrets=self.secrets, carried=True)
        self._clients.append(client)
        return client

    def spawn(self, work: Coroutine[object, object, None], name: str) -> None:
        """Runs `work` in the background until the process ends. If it fails or returns early, the process ends."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def ready_when(self, condition: Callable[[], bool]) -> None:
        """Adds a readiness condition: health reports SERVING only while all of them hold."""
        self._conditions.append(condition)

    def is_ready(self) -> bool:
        """Whether the health check of the process reports it as ready."""
        return self._ready and not self._stop.is_set()

    async def serve(self, handlers: Collection[Servable]) -> None:
        """Serves gRPC until SIGTERM or SIGINT, then drains; contracts/services.py lists the permitted callers.

        A replica beside others listens once it is ready for the first time: until then the others serve. During an
        upgrade it may fill new read models for a long time. A replica alone listens at once and serves what it can.

        Raises:
            SystemExit: a background task failed, or the NATS connection was closed permanently.
        """
        server = RpcServer(self.name, handlers, secrets=self.secrets)
        first_ready = asyncio.Event()
        watch = asyncio.create_task(self._watch_readiness(server, first_ready), name="watch of the readiness")
        watch.add_done_callback(self._ended)
        listening = False
        try:
            if not self._has_alternatives() or await self._before_stop(first_ready):
                await self._listen(server)
                listening = True
            self._accepting.set()
            await self._stop.wait()
        finally:
            self._accepting.set()
            watch.remove_done_callback(self._ended)
            watch.cancel()
            if listening:
                await server.drain(self.settings.drain_seconds)
        if self._failed:
            raise SystemExit(1)

    async def accepts_calls(self) -> bool:
        """Waits until the process accepts calls; false if it stops before that."""
        await self._accepting.wait()
        return not self._stop.is_set()

    def _has_alternatives(self) -> bool:
        """Whether the settings name other replicas of this service."""
        return len(self.settings.addresses_of(self.name)) > 1 or bool(self.settings.names_of(self.name))

    async def _before_stop(self, event: asyncio.Event) -> bool:
        """Waits for the event; false if the process has to stop first."""
        waits = [asyncio.create_task(event.wait()), asyncio.create_task(self._stop.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        return not self._stop.is_set()

    async def _listen(self, server: RpcServer) -> None:
        host, port = self.settings.listen_address(self.name)
        await server.start(
            host, port, shared=self.settings.listen_shared == "on", tls_context=server_side(self.settings, self.name)
        )
        tune_gc()
        log.info("%s listens on %s:%d", self.name, host, port)

    async def stopped(self) -> None:
        """Waits until the process has to stop."""
        await self._stop.wait()

    async def close(self) -> None:
        self._closing = True
        while self._tasks:
            for task in self._tasks:
                task.cancel()
            # A library may lose a cancellation, as in a query that ends with an error of its own: it is repeated.
            await asyncio.wait(self._tasks, timeout=_CANCEL_INTERVAL)
        for client in self._clients:
            client.close()
        if self._pool is not None:
            await self._pool.close()
        await self.nats.close()

    async def stop_for_import(self) -> None:
        """Stops the process when an import begins; after its restart it waits until the streams are complete."""
        await import_marker.wait_for_import(self.nats)
        log.warning("%s stops: an import begins", self.name)
        self._stop.set()

    async def stop_for_loss(self, watch: LossWatch) -> None:
        """Stops the process when a loss that it noticed is over, since its memory may hold the lost events."""
        await watch.run()
        log.warning("%s stops: lost events were restored, or their loss was accepted", self.name)
        self._stop.set()

    async def prepare_bucket(self, bucket: str) -> None:
        """Prepares the bucket in the background: its outage does not keep the service from starting."""
        placement = Placement.parse(self.settings.stream_placement)
        await prepare_bucket(self.nats, bucket, replicas=self.settings.stream_replicas, placement=placement)
        await self.stopped()

    async def _watch_readiness(self, server: RpcServer, first_ready: asyncio.Event) -> None:
        while True:
            self._ready = self.nats.is_connected and all(condition() for condition in self._conditions)
            server.set_ready(self._ready)
            if self._ready:
                first_ready.set()
            if self.nats.is_closed:
                # The client reconnects after every error. Should it close nonetheless, nothing would ever work again.
                log.critical("the connection to NATS was closed for good")
                self._fail()
            await asyncio.sleep(_READINESS_STEP)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if self._closing and task.cancelled():
            return
        # It also ends as cancelled when something that it waited for was cancelled.
        error = None if task.cancelled() else task.exception()
        if error is not None:
            log.critical("%s failed", task.get_name(), exc_info=error)
        elif not self._stop.is_set():
            log.critical("%s ended", task.get_name())
        self._fail()

    def _fail(self) -> None:
        if not self._stop.is_set():
            self._failed = True
            self._stop.set()


@asynccontextmanager
async def service_process(
    name: str, settings: Settings, *, database_url: DatabaseUrl | None = None
) -> AsyncIterator[ServiceProcess]:
    """Opens what the service needs, creates its stream if needed, and closes everything at the end.

    Waits for NATS, alive but not ready, however long that takes; does not wait for the database.

    `database_url`: if it is not the one in the settings.

    Raises:
        BadSetting: the service needs a database, and the settings name none.
        SystemExit: the process was stopped before NATS answered.
    """
    stop = stop_at_signals()
    # The endpoint serves before there is a process.
    processes: list[ServiceProcess] = []
    async with (
        metrics_endpoint(
            settings,
            settings.listen_address(name)[1],
            ready=lambda: any(process.is_ready() for process in processes),
        ),
        _opened(name, settings, database_url or settings.database_url, stop) as process,
    ):
        processes.append(process)
        yield process


@asynccontextmanager
async def _opened(
    name: str, settings: Settings, database_url: DatabaseUrl, stop: asyncio.Event
) -> AsyncIterator[ServiceProcess]:
    if name in SERVICES and not settings.database_url:
        # libpq would connect to a database of its own choice.
        raise BadSetting("VESTNIK_DATABASE_URL names no database")
    secrets = Secrets.load(settings.secrets_path)
    own = [stream for stream, owner in STREAMS.items() if owner == name]
    try:
        # Every read model needs OPERATOR, and the operator's process may not be running.
        nats, quorum = await open_event_store(settings, name, stop, streams=(*own, OPERATOR))
    except StopRequested:
        raise SystemExit(0) from None
    pool = await open_pool(database_url, name) if name in SERVICES else None
    process = ServiceProcess(name, settings, secrets, nats, pool, quorum, stop=stop)
    if name in permitted_callers(_CREATE_KEYS):
        process.seal(DataKeyClient(process.client("auth")).create)
    _report_dependency("nats", lambda: nats.is_connected)
    report_expiry(settings, name)
    process.spawn(process.stop_for_import(), "watch for imports")
    for bucket, kept in BUCKETS.items():
        if kept.owner == name:
            process.spawn(process.prepare_bucket(bucket), f"preparation of the bucket {bucket}")
    if quorum is not None:
        process.spawn(quorum.run(), "evidence of a quorum")
        # Reads go on without a quorum, so a ready process stays ready.
        process.ready_when(lambda: quorum.was_held)
        _report_dependency("quorum", lambda: quorum.holds)
    if pool is not None:
        database = DatabaseWatch(database_url, name, on_change=pool.set_answering)
        process.spawn(database.run(), "watch of the database")
        process.database_answers = database.answers
        process.ready_when(database.answers)
        _report_dependency("postgres", database.answers)
    for stream, watch in process.watches.items():
        process.spawn(process.stop_for_loss(watch), f"watch for losses in {stream}")
    try:
        yield process
    finally:
        await process.close()


def _checkpoint(pool: Pool | None, stream: str) -> Checkpoint:
    """Returns the highest sequence of the stream that a read model is known to have applied."""
    # What operators do is recorded also while the database is away.
    return _no_checkpoint if pool is None else Checkpoints(pool, stream, needed=stream != OPERATOR).highest


async def _no_checkpoint() -> int:
    return 0


def _report_dependency(name: str, answers: Callable[[], bool]) -> None:
    """Exports whether the dependency answers; `answers` is called at each scrape, in the event loop."""
    DEPENDENCY_UP.labels(name).set_function(lambda: float(answers()))
