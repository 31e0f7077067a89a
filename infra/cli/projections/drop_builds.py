"""`vestnik rebuild --drop-old`: drops the builds that are kept for --back, and versions that no service runs."""

import msgspec
import uvloop
from rich.console import Console

from infra.cli.actions.recording import acting_without_nats
from infra.cli.output.tables import literal
from infra.security.service_schemas import ServiceSchemas
from infra.settings import Settings
from projections.engine.projection import Projection
from projections.engine.rebuild.build_cleanup import DroppedBuild, SkippedBuild, drop_unused_builds, known_projections


class Drops(msgspec.Struct, frozen=True):
    dropped: list[DroppedBuild]
    in_use: list[SkippedBuild]

    @property
    def complete(self) -> bool:
        return not self.in_use


def run(
    settings: Settings,
    projections: list[type[Projection]],
    every: bool,
    console: Console,
    target: str,
    reason: str | None,
) -> Drops:
    """Drops unused builds. `every`: also those of projections that this release no longer has."""
    outcome = uvloop.run(_recorded(settings, projections, every, target, reason))
    for build in outcome.dropped:
        console.print(
            f"{build.projection}: build {build.build} of version {build.version} was dropped, {build.bytes:,} bytes"
        )
    for left in outcome.in_use:
        what = f"version {left.version}" if left.build is None else f"build {left.build} of version {left.version}"
        console.print(f"[yellow]{left.projection}[/]: {what} was kept: {literal(left.reason)}", soft_wrap=True)
    if not outcome.dropped and not outcome.in_use:
        console.print("nothing is kept")
    return outcome


async def _recorded(
    settings: Settings, projections: list[type[Projection]], every: bool, target: str, reason: str | None
) -> Drops:
    # It needs the database alone, and is needed where the disk is full, to which NATS then appends nothing.
    async with acting_without_nats(settings, "read_model.drop_old", target=target, reason=reason) as act:
        outcome = await _run(settings, projections, every)
        if not outcome.complete:
            act.ends("failed", "; ".join(f"{left.projection}: {left.reason}" for left in outcome.in_use))
        return outcome


async def _run(settings: Settings, projections: list[type[Projection]], every: bool) -> Drops:
    owners = await ServiceSchemas.discover(settings.database_url)
    # By database URL and name: a projection that moved to another service has left builds in its former schema.
    versions: dict[tuple[str, str], int | None] = {}
    if every:
        for database_url in owners.urls():
            versions |= dict.fromkeys((database_url, name) for name in await known_projections(database_url))
    versions |= {(owners.url(projection.run_by()), projection.name): projection.version for projection in projections}
    dropped: list[DroppedBuild] = []
    in_use: list[SkippedBuild] = []
    for (database_url, name), version in versions.items():
        gone, left = await drop_unused_builds(name, version, database_url)
        dropped += gone
        in_use += left
    return Drops(dropped, in_use)
