"""`vestnik streams`: creates the streams where the services may not, and records that they were lost or restored."""

import asyncio

import click

from contracts.errors import Unavailable
from contracts.events.notary import EndReason
from contracts.subjects import BUCKETS, LIMITS, QUORUM, STREAMS, stream_of_bucket
from infra.archive.stream_access import Store
from infra.cli.actions.identity import Reason
from infra.cli.actions.recording import acting, acting_without_nats
from infra.cli.system.accept_loss import accept_loss
from infra.operator_errors import OperatorError
from infra.runtime.connections import connect_nats
from infra.runtime.run_file import with_running_addresses
from infra.security.secrets import TOPOLOGY
from infra.settings import Settings
from streams.jetstream.api import JetStream, Refused
from streams.jetstream.requests import RequestFailed
from streams.loss.replaced_history import record_replaced
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


@streams.command()
@click.option("--reason", type=Reason(), required=True, help="The reason; recorded permanently, in plain form.")
def restored(reason: str) -> None:
    """Records that the streams were restored from a copy of their files, so that they may lack events.

    The notary then ends the tree of each stream at the last head that the stream still has, by a signed record, and
    begins the next one there. An import records itself, and an accepted loss too.
    """
    asyncio.run(_record_restored(with_running_addresses(Settings.load()), reason))
    click.echo("recorded; the notary ends the tree of each stream")


async def _record_restored(settings: Settings, reason: str) -> None:
    nc = await connect_nats(settings, "operator-restored", patience=5.0)
    try:
        async with acting(settings, nc, "streams.restored", reason=reason):
            topology = await connect_nats(Store(settings, alone=False).as_party(TOPOLOGY), TOPOLOGY, patience=5.0)
            try:
                await record_replaced(JetStream(topology), EndReason.RESTORE)
            except (RequestFailed, Refused) as failure:
                raise Unavailable(f"it was not recorded: {failure}; run the same command again") from failure
            finally:
                await topology.close()
    finally:
        await nc.close()


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
