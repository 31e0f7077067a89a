"""Keeps the build to go back to: of the retired builds of a version, the last one that was complete.

A build that a reset has made live lacks rows until it has caught up. If it is replaced before that, it is not worth
going back to, and the build before it stays. So a retired build is superseded by one that has applied at least as much,
and was retired later or has applied more.
"""

import logging
from datetime import timedelta

from psycopg import errors

from contracts.positions import Position
from projections.engine.projection import Projection
from projections.engine.rebuild import cutover
from projections.engine.storage import builds
from projections.engine.storage.builds import Build, Connection

log = logging.getLogger(__name__)
# How long after the erasure of a user a build is kept that does not have it (running/unerased_builds.py).
KEPT_AFTER_ERASURE = timedelta(days=3)
_LOCK_TIMEOUT = "SET LOCAL lock_timeout = '50ms'"


async def kept(conn: Connection, projection: type[Projection]) -> list[Build]:
    """The retired builds that nothing supersedes, the last retired first; nearly always one."""
    return (await _sorted(conn, projection))[0]


async def drop_superseded(conn: Connection, projection: type[Projection]) -> None:
    """Drops the other retired builds; one that is being read is left for the next call."""
    for build in (await _sorted(conn, projection))[1]:
        try:
            async with conn.transaction():
                await conn.execute(_LOCK_TIMEOUT)
                await cutover.drop_build(conn, projection, build)
        except errors.LockNotAvailable:
            log.info("%s: build %d is in use and will be dropped later", projection.name, build.build)


async def _sorted(conn: Connection, projection: type[Projection]) -> tuple[list[Build], list[Build]]:
    """The retired builds to keep, and the superseded ones."""
    stay: list[tuple[Build, Position]] = []
    superseded: list[Build] = []
    for build in await builds.retired(conn, projection.name, projection.version):
        position = await builds.checkpoints(conn, build)
        if any(later.covers(position) for _, later in stay):
            superseded.append(build)
            continue
        # Those that were retired later, but have applied less.
        superseded += [later for later, reached in stay if position.covers(reached)]
        stay = [(later, reached) for later, reached in stay if not position.covers(reached)]
        stay.append((build, position))
    return [build for build, _ in stay], superseded
