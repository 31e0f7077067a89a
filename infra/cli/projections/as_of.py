"""`vestnik rebuild --as-of TIME --into SCHEMA`: builds read models as of an earlier time, for inspection."""

from datetime import datetime

import msgspec
import uvloop
from rich.console import Console

from contracts.values.timestamps import rfc3339
from infra.cli.actions.recording import look
from infra.cli.output.projection_progress import Bars
from infra.cli.output.tables import literal
from infra.cli.parallel import Failed, run_each
from infra.cli.reader_connection import connect_reader
from infra.settings import Settings
from projections.engine.inspection.as_of import Built, opened
from projections.engine.projection import Projection


class States(msgspec.Struct, frozen=True):
    # Empty if any failed: then nothing is in the schema.
    built: list[Built]
    failed: list[Failed]

    @property
    def complete(self) -> bool:
        return not self.failed


def run(
    settings: Settings,
    projections: list[type[Projection]],
    moment: datetime,
    schema: str,
    replace: bool,
    console: Console,
    target: str,
) -> States:
    outcome = uvloop.run(_run(settings, projections, moment, schema, replace, console, target))
    for build in outcome.built:
        letters = f"; {build.dead_letters:,} events could not be applied" if build.dead_letters else ""
        tables = ", ".join(f"{schema}.{table} ({rows:,} rows)" for table, rows in build.tables.items())
        console.print(
            f"[green]{build.projection}[/] as of {build.as_of}: {build.events:,} events in {build.seconds:,.1f} s;"
            f" {tables}{letters}",
            soft_wrap=True,
        )
    for failed in outcome.failed:
        console.print(f"[red]{literal(failed.line())}[/]", soft_wrap=True)
    return outcome


async def _run(
    settings: Settings,
    projections: list[type[Projection]],
    moment: datetime,
    schema: str,
    replace: bool,
    console: Console,
    target: str,
) -> States:
    nc = await connect_reader(settings, "operator-rebuild", patience=5.0)
    try:
        await look(settings, nc, "as_of", target=target, filter_={"at": rfc3339(moment), "schema": schema})
        async with opened(nc, settings.database_url, schema, moment, replace=replace) as state:
            with Bars(console) as bars:

                async def one(projection: type[Projection]) -> Built:
                    return await state.build(projection, bars.add(projection.name))

                built, failed = await run_each(projections, one)
            if failed:
                return States([], failed)
            await state.publish()
            return States(built, [])
    finally:
        await nc.close()
