"""`vestnik streams`: creates the streams in a deployment where the services may not."""

import asyncio

import click

from contracts.subjects import BUCKETS, LIMITS, QUORUM, STREAMS, stream_of_bucket
from infra.cli.actions.recording import acting_without_nats
from infra.cli.system.accept_loss import accept_loss
from infra.operator_errors import OperatorError
from infra.runtime.connections import connect_nats
from infra.security.secrets import TOPOLOGY
from infra.settings import Settings
from streams.topology import Placement, ensure_bucket, ensure_limits, ensure_quorum, ensure_streams


class NoServer(OperatorError):
    """VESTNIK_NATS_URL is empty."""


@click.group(invoke_without_command=True)
@click.pass_context
def streams(context: click.Context) -> None:
    """Creates missing streams on the server of VESTNIK_NATS_URL, and updates their settings.

    Only the user `topology` of `vestnik nats-config` has the right to do this. `vestnik up` does it by itself.
    """
    if context.invoked_subcommand is not None:
        return
    settings = Settings.load()
    if not settings.nats_url:
        raise NoServer("VESTNIK_NATS_URL names no server; `vestnik up` creates its streams by itself")
    asyncio.run(_recorded(settings))
    names = (*STREAMS, LIMITS, *map(stream_of_bucket, BUCKETS), *((QUORUM,) if settings.stream_replicas > 1 else ()))
    click.echo(f"{', '.join(names)}: configured")


streams.add_command(accept_loss)


async def _recorded(settings: Settings) -> None:
    """Creates the streams as the user `topology`, who may append to none: the act is recorded as the operator."""
    async with acting_without_nats(settings, "streams.create", details={"replicas": str(settings.stream_replicas)}):
        await _make(settings)


async def _make(settings: Settings) -> None:
    nc = await connect_nats(settings, TOPOLOGY, patience=5.0)
    try:
        placement = Placement.parse(settings.stream_placement)
        await ensure_streams(nc, replicas=settings.stream_replicas, placement=placement)
        await ensure_limits(nc, replicas=settings.stream_replicas, placement=placement)
        for bucket in BUCKETS:
            await ensure_bucket(nc, bucket, replicas=settings.stream_replicas, placement=placement)
        await ensure_quorum(nc, replicas=settings.stream_replicas, placement=placement)
    finally:
        await nc.close()
