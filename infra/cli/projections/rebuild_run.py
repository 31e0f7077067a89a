"""`vestnik rebuild`, and `--back`: rebuilds read models and swaps them in, several at once."""

from collections.abc import Sequence

import msgspec
import uvloop
from rich.console import Console
from rich.markup import escape

from infra.cli.output.projection_progress import shown
from infra.cli.parallel import Failed, run_each
from infra.cli.system.accepted_losses import accept_losses
from infra.runtime.connections import connect_nats
from infra.security.service_schemas import ServiceSchemas
from infra.settings import Settings
from projections.engine.projection import Projection
from projections.engine.rebuild.rebuild import Rebuilt, rebuild
from streams.loss.missing_events import Gap, named


class Rebuilds(msgspec.Struct, frozen=True):
    rebuilt: list[Rebuilt]
    failed: list[Failed]

    @property
    def complete(self) -> bool:
        return not self.failed


def run(
    settings: Settings,
    projections: list[type[Projection]],
    back: bool,
    losses: Sequence[Gap],
    console: Console,
    progress_json: bool,
) -> Rebuilds:
    """Rebuilds the read models, after recording `losses` as accepted for good."""
    outcome = uvloop.run(_run(settings, projections, back, losses, console, progress_json))
    for rebuilt in outcome.rebuilt:
        kept = "" if rebuilt.replaced is None else f", build {rebuilt.replaced} is kept"
        letters = f"; {rebuilt.dead_letters:,} dead letters" if rebuilt.dead_letters else ""
        console.print(
            f"[green]{rebuilt.projection}[/] {'is back' if back else 'rebuilt'}: {rebuilt.events:,} events"
            f" in {rebuilt.seconds:,.1f} s ({rebuilt.events_per_second:,.0f} events/s),"
            f" build {rebuilt.build} of version {rebuilt.version} is live{kept}{letters}",
            soft_wrap=True,
        )
    for failed in outcome.failed:
        console.print(f"[red]{escape(failed.line())}[/]", soft_wrap=True)
    return outcome


async def _run(
    settings: Settings,
    projections: list[type[Projection]],
    back: bool,
    losses: Sequence[Gap],
    console: Console,
    progress_json: bool,
) -> Rebuilds:
    owners = await ServiceSchemas.discover(settings.database_url)
    nc = await connect_nats(settings, "operator-rebuild", patience=5.0)
    try:
        if losses:
            await accept_losses(settings, nc, losses)
            console.print(f"accepted as lost: {named(losses)}", soft_wrap=True)
        with shown(console, progress_json) as bars:

            async def one(projection: type[Projection]) -> Rebuilt:
                database_url = owners.url(projection.run_by())
                return await rebuild(projection, nc, database_url, bars.add(projection.name), back=back)

            return Rebuilds(*await run_each(projections, one))
    finally:
        await nc.close()
