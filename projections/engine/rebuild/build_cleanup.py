"""Drops the builds that are not in use: the one kept for a rollback, unfinished ones, other versions.

A version that a service runs is skipped, and so is a build that is being read. The code of another version is not
needed: a build's tables are recorded with it.
"""

import asyncio
from collections.abc import Collection

import msgspec
from psycopg import Error as DatabaseError
from psycopg import errors

from infra.url_files import DatabaseUrl
from projections.engine.storage import build_objects, builds
from projections.engine.storage.builds import BuildState, Connection
from projections.engine.storage.connections import (
    close_and_unlock,
    connect,
    database_unavailable,
    try_lock,
    version_rebuild_lock,
    version_runner_lock,
)
from projections.engine.storage.schema import ensure_schema

_LOCK_TIMEOUT = "SET LOCAL lock_timeout = '50ms'"
_ATTEMPTS = 20
_PAUSE_SECONDS = 0.1
_BUILDS = """
SELECT b.version, b.build, b.state, b.tables, b.objects,
    EXISTS (SELECT FROM projection_builds AS o
            WHERE (o.projection, o.version, o.state) = (b.projection, b.version, 'live')),
    EXISTS (SELECT FROM projection_checkpoints AS c
            JOIN projection_checkpoints AS o USING (projection, version, stream)
            JOIN projection_builds AS l ON (l.projection, l.version, l.build) = (o.projection, o.version, o.build)
            WHERE (c.projection, c.version, c.build) = (b.projection, b.version, b.build)
                AND l.state = 'live' AND c.sequence > o.sequence),
    (SELECT coalesce(sum(pg_total_relation_size(to_regclass(name))), 0)::bigint FROM unnest(b.tables) AS name)
FROM projection_builds AS b WHERE b.projection = %s ORDER BY b.version, b.build
"""


# Version and number.
BuildId = tuple[int, int]


class DroppedBuild(msgspec.Struct, frozen=True):
    """A build that was dropped."""

    projection: str
    version: int
    build: int
    # Freed on disk.
    bytes: int


class SkippedBuild(msgspec.Struct, frozen=True):
    """A build or version that could not be dropped, and the reason."""

    projection: str
    version: int
    # None: the whole version.
    build: int | None
    reason: str


class _Kept(msgspec.Struct, frozen=True):
    projection: str
    version: int
    build: int
    state: BuildState
    tables: list[str] | None
    # As it has more than tables.
    objects: list[str] | None
    has_live: bool
    # Whether it has applied events that the live build has not, which was reset.
    is_ahead: bool
    bytes: int

    def droppable(self, current: int | None) -> bool:
        """Whether the build is not in use. Without a live build, an unfinished one of the current version is in use."""
        if self.version != current:
            return True
        return self.state in (BuildState.RETIRED, BuildState.SHADOW) or (
            self.state is BuildState.BUILDING and self.has_live
        )


async def drop_unused_builds(
    projection: str, current: int | None, database_url: DatabaseUrl, *, only: Collection[BuildId] | None = None
) -> tuple[list[DroppedBuild], list[SkippedBuild]]:
    """Drops all builds of the projection that are not in use; keeps the live one of the current version.

    `current`: the current version; None: the projection no longer exists. `only`: leaves all other builds alone.

    Raises:
        Unavailable: the database does not answer.
    """
    conn = await connect(database_url, f"drop old {projection}")
    dropped: list[DroppedBuild] = []
    in_use: list[SkippedBuild] = []
    try:
        await ensure_schema(conn)
        locked: set[int] = set()
        for version in sorted({build.version for build in await _droppable(conn, projection, current, only)}):
            if await _lock(conn, projection, version, current):
                locked.add(version)
            else:
                busy = "it is being rebuilt" if version == current else "a service runs it, or it is rebuilt"
                in_use.append(SkippedBuild(projection, version, None, busy))
        # Read again under the locks: a rebuild may have ended meanwhile.
        for build in await _droppable(conn, projection, current, only):
            if build.version not in locked:
                continue
            if build.version == current and build.state is BuildState.RETIRED and build.is_ahead:
                reason = "the live build was reset and has not applied as many events yet"
                in_use.append(SkippedBuild(projection, build.version, build.build, reason))
            elif build.tables is None:
                in_use.append(SkippedBuild(projection, build.version, build.build, "its tables are not recorded"))
            elif await _drop(conn, build):
                dropped.append(DroppedBuild(projection, build.version, build.build, build.bytes))
            else:
                in_use.append(SkippedBuild(projection, build.version, build.build, "it is being read"))
    except DatabaseError as error:
        raise database_unavailable(error) from error
    finally:
        await close_and_unlock(conn)
    return dropped, in_use


async def known_projections(database_url: str) -> list[str]:
    """Every projection that has builds, including those that the program no longer has."""
    conn = await connect(database_url, "drop old")
    try:
        await ensure_schema(conn)
        cursor = await conn.execute("SELECT DISTINCT projection FROM projection_builds ORDER BY 1")
        return [str(name) for (name,) in await cursor.fetchall()]
    except DatabaseError as error:
        raise database_unavailable(error) from error
    finally:
        await close_and_unlock(conn)


async def _droppable(
    conn: Connection, projection: str, current: int | None, only: Collection[BuildId] | None
) -> list[_Kept]:
    cursor = await conn.execute(_BUILDS, (projection,))
    names = _Kept.__struct_fields__[1:]
    kept = [
        msgspec.convert({"projection": projection, **dict(zip(names, row, strict=True))}, _Kept)
        for row in await cursor.fetchall()
    ]
    return [
        build for build in kept if build.droppable(current) and (only is None or (build.version, build.build) in only)
    ]


async def _lock(conn: Connection, projection: str, version: int, current: int | None) -> bool:
    """Locks out rebuilds, and for another version its runners as well, until the connection is closed."""
    if not await try_lock(conn, version_rebuild_lock(projection, version)):
        return False
    return version == current or await try_lock(conn, version_runner_lock(projection, version))


async def _drop(conn: Connection, build: _Kept) -> bool:
    """Drops the build and, if it is live, its views; False if it was being read at every attempt."""
    objects = build_objects.recorded(build.tables, build.objects) or []
    for attempt in range(_ATTEMPTS):
        try:
            async with conn.transaction():
                await conn.execute(_LOCK_TIMEOUT)
                identity = build.projection, build.version, build.build
                await builds.drop(conn, identity, objects, shown=objects if build.state is BuildState.LIVE else ())
                return True
        except errors.LockNotAvailable:
            if attempt < _ATTEMPTS - 1:
                await asyncio.sleep(_PAUSE_SECONDS)
    return False
