"""`vestnik rebuild --drop-old`: drops the builds that are kept for --back, and versions that no service runs."""

import msgspec
import uvloop
from rich.console import Console

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


def run(settings: Settings, projections: list[type[Projection]], every: bool, console: Console) -> Drops:
    """Drops unused builds. `every`: also those of projections that this release no longer has."""
    outcome = uvloop.run(_run(settings, projections, every))
    for one in outcome.dropped:
        console.print(f"{one.projection}: build {one.build} of version {one.version} was dropped, {one.bytes:,} bytes")
    for left in outcome.in_use:
        what = f"version {left.version}" if left.build is None else f"build {left.build} of version {left.version}"
        console.print(f"[yellow]{left.projection}[/]: {what} was kept: {left.reason}", soft_wrap=True)
    if not outcome.dropped and not outcome.in_use:
        console.print("nothing is kept")
    return outcome


async def _run(settings: Settings, projections: list[type[Projection]], every: bool) -> Drops:
    owners = await ServiceSchemas.discover(settings.database_url)
    # By database URL and name: a projection that moved to another service has left builds in its former schema.
    versions: dict[tuple[str, str], int | None] = {}
    if every:
        for place in owners.urls():
            versions |= dict.fromkeys((place, name) for name in await known_projections(place))
    versions |= {(owners.url(each.run_by()), each.name): each.version for each in projections}
    dropped: list[DroppedBuild] = []
    in_use: list[SkippedBuild] = []
    for (place, name), version in versions.items():
        gone, left = await drop_unused_builds(name, version, place)
        dropped += gone
        in_use += left
    return Drops(dropped, in_use)
