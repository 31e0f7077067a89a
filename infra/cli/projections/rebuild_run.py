"""`vestnik rebuild`, and `--back`: rebuilds read models and swaps them in, several at once."""

from collections.abc import Sequence

import msgspec
import uvloop
from rich.console import Console

from infra.cli.actions.recording import acting
from infra.cli.output.projection_progress import shown
from infra.cli.output.tables import literal
from infra.cli.parallel import Failed, run_each
from infra.cli.reader_connection import connect_reader
from infra.cli.system.accepted_losses import accept_losses
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


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """The operator's order, in the form in which it is recorded."""

    # Whether to go back to the previous build instead of rebuilding.
    back: bool
    # Accepted as lost permanently, first.
    losses: Sequence[Gap]
    # Events a second of each read model; None: no limit.
    most_per_second: int | None
    # The read models by name, or `all`.
    target: str
    reason: str | None
    # Of the act that the page has recorded.
    action_id: str | None


def run(
    settings: Settings,
    projections: list[type[Projection]],
    order: Order,
    console: Console,
    progress_json: bool,
) -> Rebuilds:
    """Rebuilds the read models, after recording the order's losses as accepted permanently."""
    outcome = uvloop.run(_run(settings, projections, order, console, progress_json))
    for rebuilt in outcome.rebuilt:
        kept = "" if rebuilt.replaced is None else f", build {rebuilt.replaced} is kept"
        letters = f"; {rebuilt.dead_letters:,} dead letters" if rebuilt.dead_letters else ""
        console.print(
            f"[green]{rebuilt.projection}[/] {'is back' if order.back else 'rebuilt'}: {rebuilt.events:,} events"
            f" in {rebuilt.seconds:,.1f} s ({rebuilt.events_per_second:,.0f} events/s),"
            f" build {rebuilt.build} of version {rebuilt.version} is live{kept}{letters}",
            soft_wrap=True,
        )
    for failed in outcome.failed:
        console.print(f"[red]{literal(failed.line())}[/]", soft_wrap=True)
    return outcome


async def _run(
    settings: Settings,
    projections: list[type[Projection]],
    order: Order,
    console: Console,
    progress_json: bool,
) -> Rebuilds:
    owners = await ServiceSchemas.discover(settings.database_url)
    nc = await connect_reader(settings, "operator-rebuild", patience=5.0)
    try:
        if order.losses:
            lost = named(order.losses)
            streams = ",".join(sorted({gap.stream for gap in order.losses}))
            async with acting(
                settings, nc, "stream.accept_loss", target=streams, details={"lost": lost}, reason=order.reason
            ):
                await accept_losses(settings, nc, order.losses)
            console.print(f"accepted as lost: {lost}", soft_wrap=True)
        async with acting(
            settings,
            nc,
            "read_model.back" if order.back else "read_model.rebuild",
            target=order.target,
            details=None if order.most_per_second is None else {"rate": str(order.most_per_second)},
            reason=order.reason,
            recorded_as=order.action_id,
        ) as act:
            with shown(console, progress_json) as bars:

                async def one(projection: type[Projection]) -> Rebuilt:
                    database_url = owners.url(projection.run_by())
                    report, most = bars.add(projection.name), order.most_per_second
                    return await rebuild(projection, nc, database_url, report, back=order.back, most_per_second=most)

                outcome = Rebuilds(*await run_each(projections, one))
            if not outcome.complete:
                act.ends("failed", "; ".join(failure.line() for failure in outcome.failed))
            return outcome
    finally:
        await nc.close()
