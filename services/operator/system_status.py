"""Collects the status of every part of a running system, each with its own timeout."""

import asyncio
import itertools
from datetime import UTC, datetime

import msgspec
from nats.aio.client import Client as NATS
from nats.errors import Error as NatsError
from psycopg import Error as DatabaseError

from contracts.durable_consumers import DURABLES
from contracts.errors import VestnikError
from contracts.services import GATEWAY, OPERATOR, RPC_SERVICES
from contracts.subjects import STREAMS
from infra.operator_errors import OperatorError
from infra.rpc.health import is_serving
from infra.rpc.replicas import Replicas
from infra.rpc.tls import client_side
from infra.runtime.connections import connect_nats
from infra.runtime.run_file import find
from infra.security.operator_accounts import Operators
from infra.security.service_schemas import ServiceSchemas
from infra.settings import Settings
from projections.engine.projection import Projection
from projections.engine.status.status import (
    ProjectionStatus,
    StreamStatus,
    failed_status,
    projection_statuses,
    stream_status,
    unknown_statuses,
)
from projections.engine.storage.connections import connect
from projections.registry import broken, choose
from streams.jetstream.api import JetStream, Refused
from streams.jetstream.requests import RequestFailed
from streams.reactions.status import ReactionStatus, reaction_statuses, unknown_reactions

_GATEWAY_SECONDS = 2.0
# To connect; and for all queries over the connection.
_CONNECT_SECONDS = 2.0
_ANSWER_SECONDS = 5.0
NATS_SERVER, DATABASE = "nats", "postgres"
_NATS_SILENT = (NatsError, Refused, RequestFailed)
_DATABASE_SILENT = (DatabaseError, OSError, TimeoutError, VestnikError)


class ServiceStatus(msgspec.Struct, frozen=True):
    name: str
    # `serving`, `partly` (some of its replicas), `not_ready` (reported by itself), `down`.
    state: str
    # URLs of the metrics of its processes, if `vestnik up` runs them.
    metrics: list[str]


class UnreachableServer(msgspec.Struct, frozen=True):
    """A server that did not answer; data that only it has is missing from the status."""

    # `nats` or `postgres`.
    part: str
    reason: str


class Status(msgspec.Struct, frozen=True):
    at: datetime
    # Without NATS there are no streams. Without PostgreSQL each projection is `unknown`.
    streams: list[StreamStatus]
    projections: list[ProjectionStatus]
    # In the order of contracts/durable_consumers.py; `unknown` without NATS, or without the rights to see them.
    reactions: list[ReactionStatus]
    services: list[ServiceStatus]
    unreachable: list[UnreachableServer]
    # Whether the event store refuses writes since it has no space left.
    out_of_space: bool


async def collect_status(settings: Settings, nc: NATS | None = None) -> Status:
    """Collects the current status within about ten seconds, whatever is down.

    `nc`: an existing connection; without it, one is opened and closed.
    """
    urls = _metrics(settings)
    servers = asyncio.create_task(_servers(settings, nc))
    services = await asyncio.gather(
        *(_service(settings, name, urls.get(name, [])) for name in _services(settings)),
        _gateway(settings, urls.get(GATEWAY, [])),
    )
    streams, projections, reactions, unreachable, out_of_space = await servers
    return Status(datetime.now(UTC), streams, projections, reactions, list(services), unreachable, out_of_space)


async def _servers(
    settings: Settings, connection: NATS | None
) -> tuple[list[StreamStatus], list[ProjectionStatus], list[ReactionStatus], list[UnreachableServer], bool]:
    out_of_space = False
    reactions = unknown_reactions(DURABLES)
    unreachable: list[UnreachableServer] = []
    nc = connection
    streams: list[StreamStatus] = []
    try:
        try:
            nc = nc or await connect_nats(settings, "operator-status", patience=_CONNECT_SECONDS)
            async with asyncio.timeout(_ANSWER_SECONDS):
                streams = list(await asyncio.gather(*(stream_status(nc, stream) for stream in STREAMS)))
                out_of_space = await JetStream(nc, patience=_ANSWER_SECONDS).is_full()
            reactions = await _reactions(nc)
        except (*_NATS_SILENT, OSError, TimeoutError, VestnikError) as error:
            unreachable.append(_unreachable(NATS_SERVER, error))
        projections: list[ProjectionStatus] | None = None
        while projections is None:
            try:
                async with asyncio.timeout(_ANSWER_SECONDS):
                    projections = await _projections(settings, nc if streams else None, streams)
            except _NATS_SILENT as error:
                # NATS failed in between: retry without it.
                unreachable.append(_unreachable(NATS_SERVER, error))
                streams = []
            except _DATABASE_SILENT as error:
                unreachable.append(_unreachable(DATABASE, error))
                projections = [*unknown_statuses(_chosen(settings)), *map(failed_status, broken().values())]
    finally:
        if nc is not None and nc is not connection:
            await nc.close()
    return streams, projections, reactions, unreachable, out_of_space


async def _reactions(nc: NATS) -> list[ReactionStatus]:
    """Unknown ones too if this login's rights are those of a release without parked events."""
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):
            return await reaction_statuses(nc, DURABLES, patience=_ANSWER_SECONDS)
    except (*_NATS_SILENT, OSError, TimeoutError, VestnikError):
        return unknown_reactions(DURABLES)


async def _projections(settings: Settings, nc: NATS | None, streams: list[StreamStatus]) -> list[ProjectionStatus]:
    schemas = await ServiceSchemas.discover(settings.database_url)
    by_url: dict[str, list[type[Projection]]] = {}
    for projection in _chosen(settings):
        by_url.setdefault(schemas.url(projection.run_by()), []).append(projection)

    async def at(database_url: str) -> list[ProjectionStatus]:
        conn = await connect(database_url, "vestnik status")
        try:
            return await projection_statuses(by_url[database_url], conn, nc, streams)
        finally:
            await conn.close()

    states = await asyncio.gather(*map(at, by_url))
    failed = map(failed_status, broken().values())
    operators = Operators(settings.secrets_path)
    named = (_with_operator(status, operators) for status in itertools.chain(*states, failed))
    return sorted(named, key=lambda status: status.name)


def _with_operator(status: ProjectionStatus, operators: Operators) -> ProjectionStatus:
    """The status with the name of the operator who paused the projection, who is stored as the account's id."""
    if status.pause is None:
        return status
    pause = msgspec.structs.replace(status.pause, paused_by=operators.name_of(status.pause.paused_by))
    return msgspec.structs.replace(status, pause=pause)


def _chosen(settings: Settings) -> list[type[Projection]]:
    """The projections that the running services keep."""
    return choose([], settings.read_model_services)


def _services(settings: Settings) -> tuple[str, ...]:
    return tuple(service for service in RPC_SERVICES if settings.addresses[service])


def _unreachable(part: str, error: Exception) -> UnreachableServer:
    return UnreachableServer(part, str(error).partition("\n")[0] or "no answer in time")


def _metrics(settings: Settings) -> dict[str, list[str]]:
    try:
        return find(settings.data_dir).metrics
    except OperatorError:
        return {}


async def _service(settings: Settings, name: str, metrics: list[str]) -> ServiceStatus:
    tls = client_side(settings, OPERATOR, name)
    replicas = Replicas.of(settings, name)
    await replicas.refresh()
    answers = await asyncio.gather(*(is_serving(host, port, tls=tls) for host, port in replicas.present))
    state = "down" if not any(answers) else "serving" if all(answers) else "partly"
    return ServiceStatus(name, state, metrics)


async def _gateway(settings: Settings, metrics: list[str]) -> ServiceStatus:
    import aiohttp  # only here, so that commands start quickly

    timeout = aiohttp.ClientTimeout(total=_GATEWAY_SECONDS)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(f"{settings.issuer}/readyz") as answer,
        ):
            return ServiceStatus(GATEWAY, "serving" if answer.ok else "not_ready", metrics)
    except (aiohttp.ClientError, TimeoutError):
        return ServiceStatus(GATEWAY, "down", metrics)
