"""`vestnik rebuild`: builds read models anew from the streams, beside the live ones, and swaps them in."""

import sys

import click
import msgspec
import uvloop
from nats.aio.client import Client as NATS
from rich.console import Console

from infra.cli.progress import Bars
from infra.connections import connect_nats
from infra.running import connected
from infra.settings import Settings
from projections.engine.projection import Projection
from projections.engine.rebuild import Rebuilt
from projections.engine.rebuild import rebuild as rebuild_one
from projections.registry import UnknownProjection, choose


class Rebuilds(msgspec.Struct, frozen=True):
    rebuilt: list[Rebuilt]


@click.command()
@click.argument("names", metavar="PROJECTION...", nargs=-1)
@click.option("--all", "every", is_flag=True, help="Rebuild every projection.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as one JSON object.")
def rebuild(names: tuple[str, ...], every: bool, as_json: bool) -> None:
    """Rebuilds read models from their streams and swaps them in; reads are served all the while.

    Ctrl-C stops it; the same command takes it up again where it was. The read model before is kept until the next
    rebuild.
    """
    if bool(names) == every:
        raise click.UsageError("name the projections to rebuild, or say --all")
    try:
        projections = choose(names)
    except UnknownProjection as error:
        raise click.ClickException(str(error)) from error
    console = Console(stderr=True)
    rebuilt = uvloop.run(_run(connected(Settings.load()), projections, console))
    if as_json:
        sys.stdout.write(msgspec.json.encode(Rebuilds(rebuilt)).decode() + "\n")
        return
    for one in rebuilt:
        console.print(
            f"[green]{one.projection}[/] rebuilt: {one.events:,} events in {one.seconds:,.1f} s"
            f" ({one.events_per_second:,.0f} events/s), build {one.build} of version {one.version} is live"
        )


async def _run(settings: Settings, projections: list[type[Projection]], console: Console) -> list[Rebuilt]:
    nc: NATS = await connect_nats(settings, "operator-rebuild", patience=5.0)
    try:
        with Bars(console) as bars:
            return [
                await rebuild_one(projection, nc, settings.database_url, bars.add(projection.name))
                for projection in projections
            ]
    finally:
        await nc.close()
