"""The builds of read models, and their checkpoints.

A build is one set of tables of one version. At most one build of a version is live: the views point at its tables.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum

import msgspec
from psycopg import AsyncConnection
from psycopg.rows import kwargs_row
from psycopg.types.json import Jsonb

from contracts.positions import Position
from projections.engine.storage import build_objects
from projections.engine.storage.build_objects import BuildObject

Connection = AsyncConnection[tuple[object, ...]]

_NUMBER_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('vestnik.projections.number', 0))"


class BuildState(StrEnum):
    BUILDING = "building"
    LIVE = "live"
    RETIRED = "retired"
    SHADOW = "shadow"


class Build(msgspec.Struct, frozen=True, kw_only=True):
    projection: str
    version: int
    build: int
    state: BuildState
    identity: str

    @property
    def id(self) -> tuple[str, int, int]:
        return self.projection, self.version, self.build

    def table(self, view: str) -> str:
        """The name of this build's table for a view: `friends_v3_b2`."""
        return f"{view}_b{self.build}"


async def builds_of(conn: Connection, projection: str, version: int) -> list[Build]:
    """Every build of the version, oldest first."""
    async with conn.cursor(row_factory=kwargs_row(_build)) as cursor:
        await cursor.execute(
            "SELECT projection, version, build, state, identity::text FROM projection_builds"
            " WHERE projection = %s AND version = %s ORDER BY build",
            (projection, version),
        )
        return await cursor.fetchall()


async def lock_build_numbers(conn: Connection) -> None:
    """Blocks other additions of builds until the transaction ends."""
    await conn.execute(_NUMBER_LOCK)


async def add_build(
    conn: Connection, projection: str, version: int, state: BuildState, *, number: int | None = None
) -> Build:
    """Adds a build with the next free number; must run in a transaction, concurrent calls are safe."""
    await lock_build_numbers(conn)
    async with conn.cursor(row_factory=kwargs_row(_build)) as cursor:
        await cursor.execute(
            "INSERT INTO projection_builds (projection, version, build, state)"
            " SELECT %(projection)s, %(version)s, coalesce(%(number)s, max(build) + 1, 1), %(state)s"
            " FROM projection_builds WHERE projection = %(projection)s AND version = %(version)s"
            " RETURNING projection, version, build, state, identity::text",
            {"projection": projection, "version": version, "state": state.value, "number": number},
        )
        build = await cursor.fetchone()
    assert build is not None
    return build


async def lock_build(conn: Connection, build: Build) -> bool:
    """Locks the build against every writer until the transaction ends; False if its state has changed."""
    cursor = await conn.execute(
        "SELECT 1 FROM projection_builds WHERE (projection, version, build) = (%s, %s, %s) AND state = %s FOR UPDATE",
        (*build.id, build.state.value),
    )
    return await cursor.fetchone() is not None


async def hold_version(conn: Connection, projection: str, version: int) -> list[Build]:
    """Locks every build of the version, shadows excepted, as `lock_build` does."""
    async with conn.cursor(row_factory=kwargs_row(_build)) as cursor:
        await cursor.execute(
            "SELECT projection, version, build, state, identity::text FROM projection_builds"
            " WHERE projection = %s AND version = %s AND state <> 'shadow' ORDER BY build FOR UPDATE",
            (projection, version),
        )
        return await cursor.fetchall()


async def set_state(conn: Connection, build: Build, state: BuildState) -> None:
    await conn.execute(
        "UPDATE projection_builds SET state = %(state)s,"
        " live_at = CASE WHEN %(state)s = 'live' THEN now() ELSE live_at END,"
        " retired_at = CASE WHEN %(state)s = 'retired' THEN now() ELSE retired_at END"
        " WHERE (projection, version, build) = (%(projection)s, %(version)s, %(build)s)",
        {"state": state.value, "projection": build.projection, "version": build.version, "build": build.build},
    )


async def renew_identity(conn: Connection, build: Build) -> None:
    """Makes the build another one for its writer and for those that keep rows of it, with the same checkpoints."""
    await conn.execute(
        "UPDATE projection_builds SET identity = gen_random_uuid() WHERE (projection, version, build) = (%s, %s, %s)",
        build.id,
    )


async def record_live_at(conn: Connection, build: Build) -> None:
    """Records when the build went live; this commit also flushes the cutover's commit to disk."""
    await conn.execute(
        "UPDATE projection_builds SET live_at = now() WHERE (projection, version, build) = (%s, %s, %s)", build.id
    )


async def record_source(
    conn: Connection, build: Build, tables: Sequence[str], code: str | None, objects: Sequence[BuildObject] = ()
) -> None:
    """Records the build's tables and the digest of the code that fills it; `objects`: as it has more than tables."""
    await conn.execute(
        "UPDATE projection_builds SET tables = %s, code = %s, objects = %s WHERE (projection, version, build) ="
        " (%s, %s, %s)",
        (list(tables), code, list(map(str, objects)) or None, *build.id),
    )


async def begin_of(conn: Connection, build: Build) -> Position:
    """The position after which the build begins; empty: with the first event, or it is not determined yet."""
    cursor = await conn.execute(
        "SELECT begins_after FROM projection_builds WHERE (projection, version, build) = (%s, %s, %s)", build.id
    )
    row = await cursor.fetchone()
    return Position(msgspec.convert((row and row[0]) or {}, dict[str, int]))


async def set_begin(conn: Connection, build: Build, after: Position) -> None:
    """Sets where a build begins that has applied nothing yet; must run in a transaction."""
    await conn.execute(
        "UPDATE projection_builds SET begins_after = %s WHERE (projection, version, build) = (%s, %s, %s)",
        (Jsonb(dict(after.sequences)), *build.id),
    )
    for stream, sequence in after.sequences.items():
        await conn.execute(
            "UPDATE projection_checkpoints SET sequence = %s"
            " WHERE (projection, version, build, stream) = (%s, %s, %s, %s)",
            (sequence, *build.id, stream),
        )


async def source_digest(conn: Connection, build: Build) -> str | None:
    """The digest of the code that the build was started with; None if an earlier program did not record it."""
    cursor = await conn.execute(
        "SELECT code FROM projection_builds WHERE (projection, version, build) = (%s, %s, %s)", build.id
    )
    row = await cursor.fetchone()
    return None if row is None or row[0] is None else str(row[0])


async def objects_of(conn: Connection, build: Build) -> list[BuildObject] | None:
    """The objects with which the build was created; the current code may lack some. None if that was not recorded."""
    cursor = await conn.execute(
        "SELECT tables, objects FROM projection_builds WHERE (projection, version, build) = (%s, %s, %s)", build.id
    )
    row = await cursor.fetchone()
    return None if row is None else build_objects.recorded(*row)


async def retired(conn: Connection, projection: str, version: int) -> list[Build]:
    """The version's builds that were live once, the last retired first."""
    async with conn.cursor(row_factory=kwargs_row(_build)) as cursor:
        await cursor.execute(
            "SELECT projection, version, build, state, identity::text FROM projection_builds"
            " WHERE projection = %s AND version = %s AND state = 'retired' ORDER BY retired_at DESC, build DESC",
            (projection, version),
        )
        return await cursor.fetchall()


async def drop(
    conn: Connection, build: tuple[str, int, int], objects: Sequence[BuildObject], shown: Sequence[BuildObject] = ()
) -> None:
    """Drops a build's objects, those in `shown` as readers see them too; deletes its checkpoints and dead letters.

    Must run in a transaction; no view of others may use the tables.
    """
    await build_objects.hide(conn, shown)
    await build_objects.drop(conn, objects)
    await conn.execute("DELETE FROM projection_builds WHERE (projection, version, build) = (%s, %s, %s)", build)


async def checkpoints(conn: Connection, build: Build) -> Position:
    """The build's checkpoints."""
    cursor = await conn.execute(
        "SELECT stream, sequence FROM projection_checkpoints WHERE (projection, version, build) = (%s, %s, %s)",
        build.id,
    )
    return Position({str(stream): _whole(sequence) for stream, sequence in await cursor.fetchall()})


async def add_checkpoints(conn: Connection, build: Build, sequences: Mapping[str, int]) -> None:
    for stream, sequence in sequences.items():
        await conn.execute(
            "INSERT INTO projection_checkpoints (projection, version, build, stream, sequence)"
            " VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
            (*build.id, stream, sequence),
        )


# Moves a checkpoint only from the expected sequence, and only while the build's state, identity and revision of dead
# letters are the expected ones. Because of the share lock a cutover, or a resolution of dead letters, waits for this
# transaction, and this transaction sees earlier ones. The answer is the number of checkpoints moved, 1 or 0. The
# setting MOVED holds it until the transaction ends, for the statements that follow in the same pipeline (`statements`).
MOVED = "vestnik.moved"
MOVE_CHECKPOINT = (
    "WITH held AS (SELECT FROM projection_builds WHERE (projection, version, build) = (%s, %s, %s)"
    " AND state = %s AND identity = %s AND letters_revision = %s FOR SHARE),"
    " moved AS (UPDATE projection_checkpoints AS c SET sequence = %s, events_per_second = %s, updated_at = now()"
    " FROM held WHERE (c.projection, c.version, c.build) = (%s, %s, %s) AND c.stream = %s AND c.sequence = %s"
    " RETURNING 1) SELECT set_config('vestnik.moved', count(*)::text, true) FROM moved"
)


def _build(projection: str, version: int, build: int, state: str, identity: str) -> Build:
    return Build(projection=projection, version=version, build=build, state=BuildState(state), identity=identity)


def _whole(value: object) -> int:
    assert isinstance(value, int)
    return value
