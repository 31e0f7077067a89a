"""Drops builds that are kept but not written to, some time after the erasure of a user whose data they may have.

No runner applies events to such a build (the one to go back to, an interrupted rebuild, the tables of a version that no
service runs), so it keeps what it has of users who were erased since. A build that lacks an erasure is recognised by
its own table of erased users.
"""

import asyncio
import logging
from datetime import timedelta

import msgspec
from psycopg import Error as DatabaseError
from psycopg import sql

from contracts.errors import Unavailable
from infra.url_files import DatabaseUrl
from projections.engine.erasing import ERASED, ErasingProjection
from projections.engine.rebuild import build_cleanup, cutover, kept_builds
from projections.engine.rebuild.build_cleanup import BuildId, DroppedBuild
from projections.engine.storage.builds import Connection
from projections.engine.storage.connections import close_and_unlock, connect, database_unavailable
from projections.engine.storage.tables import physical_names

log = logging.getLogger(__name__)
# Seconds from the start to the first sweep, and between two.
_FIRST, _EVERY = 600.0, 3600.0
# Builds that were written to of late are left alone: a rebuild that goes on soon, or a version whose service restarts,
# may not have come to the erasure yet.
_OTHERS = """
SELECT b.version, b.build, coalesce(b.tables, '{}') FROM projection_builds AS b
WHERE b.projection = %s AND (b.version, b.build) <> (%s, %s) AND NOT EXISTS (
    SELECT FROM projection_checkpoints AS c
    WHERE (c.projection, c.version, c.build) = (b.projection, b.version, b.build)
        AND c.updated_at > now() - %s::interval
)
"""
_ERASED_LONG_AGO = "SELECT EXISTS (SELECT FROM {live} AS e WHERE e.at <= now() - %s::interval)"
_LACKS_ONE = """
SELECT EXISTS (
    SELECT FROM {live} AS e WHERE e.at <= now() - %s::interval
        AND NOT EXISTS (SELECT FROM {other} AS o WHERE o.user_id = e.user_id)
)
"""


async def run(projections: list[type[ErasingProjection]], database_url: DatabaseUrl) -> None:
    """Sweeps until cancelled. Replicas may sweep at the same time."""
    await asyncio.sleep(_FIRST)
    while True:
        for projection in projections:
            try:
                await drop_unerased_builds(projection, database_url, kept_builds.KEPT_AFTER_ERASURE)
            except Unavailable as error:
                log.warning("%s: kept builds are not checked for erased users: %s", projection.name, error)
        await asyncio.sleep(_EVERY)


async def drop_unerased_builds(
    projection: type[ErasingProjection], database_url: DatabaseUrl, kept_for: timedelta
) -> list[DroppedBuild]:
    """Drops the builds that are not in use and lack an erasure that the live build applied.

    `kept_for`: how long since the erasure, and since the last event that the build applied.

    Raises:
        Unavailable: the database does not answer.
    """
    conn = await connect(database_url, f"drop old {projection.name}")
    try:
        unerased = await _unerased(conn, projection, kept_for)
    except DatabaseError as error:
        raise database_unavailable(error) from error
    finally:
        await close_and_unlock(conn)
    if not unerased:
        return []
    dropped, skipped = await build_cleanup.drop_unused_builds(
        projection.name, projection.version, database_url, only=unerased
    )
    for build in dropped:
        log.info(
            "%s: dropped build %d of version %d, which had data of users who were erased since",
            projection.name,
            build.build,
            build.version,
        )
    for left in skipped:
        log.info("%s: version %d has data of erased users: %s", projection.name, left.version, left.reason)
    return dropped


async def _unerased(conn: Connection, projection: type[ErasingProjection], kept_for: timedelta) -> set[BuildId]:
    """The builds, in use or not, that lack an old erasure of the live one; none without a live build."""
    live = await cutover.live_build(conn, projection)
    if live is None:
        return set()
    name = physical_names(projection, live)[ERASED]
    cursor = await conn.execute(_OTHERS, (projection.name, live.version, live.build, kept_for))
    unerased: set[BuildId] = set()
    for row in await cursor.fetchall():
        version, build, tables = msgspec.convert(row, tuple[int, int, list[str]])
        # The tables of a version before the erasures of accounts do not include one.
        other = f"{projection.name}_{ERASED}_v{version}_b{build}"
        statement = sql.SQL(_LACKS_ONE if other in tables else _ERASED_LONG_AGO).format(
            live=sql.Identifier(name), other=sql.Identifier(other)
        )
        if await (await conn.execute(statement, (kept_for,))).fetchone() == (True,):
            unerased.add((version, build))
    return unerased
