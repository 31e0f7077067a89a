"""`vestnik rebuild --only`: rebuilds the rows of one key in place."""

import msgspec
import uvloop
from rich.console import Console

from infra.cli.actions.recording import acting
from infra.cli.output.projection_progress import shown
from infra.cli.output.tables import literal
from infra.cli.reader_connection import connect_reader
from infra.security.service_schemas import ServiceSchemas
from infra.settings import Settings
from projections.engine.projection import Projection
from projections.engine.rebuild.one_key import RebuiltKey, rebuild_key
from projections.engine.storage.operator_connection import operator_connection


class RebuiltKeys(msgspec.Struct, frozen=True):
    rebuilt: list[RebuiltKey]

    @property
    def complete(self) -> bool:
        return True


def run(
    settings: Settings,
    projection: type[Projection],
    key: str,
    console: Console,
    progress_json: bool,
    reason: str | None,
    action: str | None,
) -> RebuiltKeys:
    """`action`: the id of the act that the page has recorded."""
    rebuilt = uvloop.run(_run(settings, projection, key, console, progress_json, reason, action))
    what = f"{rebuilt.rows:,} rows of {literal(key)} rebuilt from {rebuilt.events:,} events"
    console.print(f"[green]{rebuilt.projection}[/]: {what}", soft_wrap=True)
    return RebuiltKeys([rebuilt])


async def _run(
    settings: Settings,
    projection: type[Projection],
    key: str,
    console: Console,
    progress_json: bool,
    reason: str | None,
    action: str | None,
) -> RebuiltKey:
    owners = await ServiceSchemas.discover(settings.database_url)
    nc = await connect_reader(settings, "operator-rebuild", patience=5.0)
    try:
        async with (
            operator_connection(owners.url(projection.run_by()), f"rebuild {projection.name}") as conn,
            acting(
                settings,
                nc,
                "read_model.rebuild",
                target=projection.name,
                details={"only": key},
                reason=reason,
                recorded_as=action,
            ),
        ):
            with shown(console, progress_json) as bars:
                return await rebuild_key(conn, nc, projection, key, bars.add(projection.name))
    finally:
        await nc.close()
