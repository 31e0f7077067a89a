"""`vestnik status`: streams, projections and services at a glance."""

import asyncio
import sys

import aiohttp
import click
import msgspec
from rich.console import Console
from rich.table import Column, Table

from contracts.subjects import STREAMS
from infra.connections import connect_nats
from infra.rpc.health import is_serving
from infra.running import connected
from infra.settings import SERVICES, Settings
from projections.engine.connecting import connect
from projections.engine.status import ProjectionStatus, StreamStatus, projection_statuses, stream_status
from projections.registry import choose

_GATEWAY_SECONDS = 2.0
_COLOURS = {"live": "green", "serving": "green", "building": "yellow", "partly": "yellow", "not_ready": "yellow"}


class ServiceStatus(msgspec.Struct, frozen=True):
    name: str
    # `serving`, `partly` (some of its replicas), `not_ready` (it says so itself), `down`.
    state: str


class Status(msgspec.Struct, frozen=True):
    streams: list[StreamStatus]
    projections: list[ProjectionStatus]
    services: list[ServiceStatus]


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def status(as_json: bool) -> None:
    """Shows how many events each stream has, how far each projection is, and which services answer."""
    found = asyncio.run(_collect(connected(Settings.load())))
    if as_json:
        sys.stdout.write(msgspec.json.encode(found).decode() + "\n")
    else:
        _print(found, Console())


async def _collect(settings: Settings) -> Status:
    nc = await connect_nats(settings, "operator-status", patience=5.0)
    try:
        conn = await connect(settings.database_url, "vestnik status")
        try:
            streams = [await stream_status(nc, stream) for stream in STREAMS]
            projections = await projection_statuses(choose([]), conn, nc, streams)
        finally:
            await conn.close()
    finally:
        await nc.close()
    services = await asyncio.gather(*(_service(settings, name) for name in SERVICES), _gateway(settings))
    return Status(streams, projections, services)


async def _service(settings: Settings, name: str) -> ServiceStatus:
    answers = await asyncio.gather(*(is_serving(host, port) for host, port in settings.addresses_of(name)))
    state = "serving" if all(answers) else "partly" if any(answers) else "down"
    return ServiceStatus(name, state)


async def _gateway(settings: Settings) -> ServiceStatus:
    timeout = aiohttp.ClientTimeout(total=_GATEWAY_SECONDS)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(f"{settings.issuer}/readyz") as answer,
        ):
            return ServiceStatus("gateway", "serving" if answer.ok else "not_ready")
    except (aiohttp.ClientError, TimeoutError):
        return ServiceStatus("gateway", "down")


def _print(found: Status, console: Console) -> None:
    streams = Table(
        "stream", *map(_number, ("events", "bytes", "last sequence")), title="Streams", title_justify="left"
    )
    for stream in found.streams:
        streams.add_row(stream.name, f"{stream.events:,}", f"{stream.bytes:,}", f"{stream.last_sequence:,}")
    projections = Table(
        "projection",
        *map(_number, ("version", "position", "lag", "events/s")),
        "state",
        title="Projections",
        title_justify="left",
    )
    for projection in found.projections:
        projections.add_row(
            projection.name,
            str(projection.version),
            ", ".join(f"{stream} {sequence:,}" for stream, sequence in projection.position.items()),
            f"{projection.lag:,}",
            f"{projection.events_per_second:,.1f}",
            _coloured(projection.state),
        )
    services = Table("service", "state", title="Services", title_justify="left")
    for service in found.services:
        services.add_row(service.name, _coloured(service.state))
    for table in (streams, projections, services):
        console.print(table)


def _number(name: str) -> Column:
    return Column(name, justify="right")


def _coloured(state: str) -> str:
    return f"[{_COLOURS.get(state, 'red')}]{state}[/]"
