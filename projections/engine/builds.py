"""The engine's own tables: which builds of a read model there are, and how far each has read.

A build is one set of tables of one version. At most one build of a version is live: the views point at its tables.
"""

from collections.abc import Mapping
from enum import StrEnum

import msgspec
from psycopg import AsyncConnection
from psycopg.rows import kwargs_row

from contracts.positions import Position

Connection = AsyncConnection[tuple[object, ...]]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS projection_builds (
    projection text,
    version integer,
    build integer,
    state text NOT NULL CHECK (state IN ('building', 'live', 'retired', 'shadow')),
    -- Tells this build from one of the same number in a database that was wiped meanwhile.
    identity uuid NOT NULL DEFAULT gen_random_uuid(),
    created_at timestamptz NOT NULL DEFAULT now(),
    live_at timestamptz,
    retired_at timestamptz,
    PRIMARY KEY (projection, version, build)
);
CREATE UNIQUE INDEX IF NOT EXISTS projection_builds_live ON projection_builds (projection, version)
    WHERE state = 'live';
CREATE TABLE IF NOT EXISTS projection_checkpoints (
    projection text,
    version integer,
    build integer,
    stream text,
    -- Everything up to this sequence has been applied.
    sequence bigint NOT NULL DEFAULT 0,
    events_per_second double precision NOT NULL DEFAULT 0,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (projection, version, build, stream),
    FOREIGN KEY (projection, version, build) REFERENCES projection_builds ON DELETE CASCADE
) WITH (fillfactor = 20);
CREATE TABLE IF NOT EXISTS projection_dead_letters (
    projection text,
    version integer,
    build integer,
    stream text,
    sequence bigint,
    subject text NOT NULL,
    type text NOT NULL,
    -- `failed` could not be applied; `parked` waits behind a failed one of its aggregate.
    state text NOT NULL CHECK (state IN ('failed', 'parked')),
    reason text NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (projection, version, build, stream, sequence),
    FOREIGN KEY (projection, version, build) REFERENCES projection_builds ON DELETE CASCADE
);
"""
_SCHEMA_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('vestnik.projections.schema', 0))"
_NUMBER_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('vestnik.projections.number', 0))"


class State(StrEnum):
    BUILDING = "building"
    LIVE = "live"
    RETIRED = "retired"
    SHADOW = "shadow"


class Build(msgspec.Struct, frozen=True, kw_only=True):
    projection: str
    version: int
    build: int
    state: State
    identity: str

    @property
    def id(self) -> tuple[str, int, int]:
        return self.projection, self.version, self.build

    def table(self, view: str) -> str:
        """The name of this build's table under a view: `friends_v3_b2`."""
        return f"{view}_b{self.build}"


async def ensure_schema(conn: Connection) -> None:
    """Creates the engine's tables; safe whoever else does the same at the same moment."""
    cursor = await conn.execute("SELECT to_regclass('projection_dead_letters') IS NOT NULL")
    if await cursor.fetchone() == (True,):
        return
    async with conn.transaction():
        await conn.execute(_SCHEMA_LOCK)
        await conn.execute(_SCHEMA)


async def builds_of(conn: Connection, projection: str, version: int) -> list[Build]:
    """Every build of the version, oldest first."""
    async with conn.cursor(row_factory=kwargs_row(_build)) as cursor:
        await cursor.execute(
            "SELECT projection, version, build, state, identity::text FROM projection_builds"
            " WHERE projection = %s AND version = %s ORDER BY build",
            (projection, version),
        )
        return await cursor.fetchall()


async def add_build(conn: Connection, projection: str, version: int, state: State) -> Build:
    """Adds a build with the next free number, within a transaction; a rebuild and a verification may do so at once."""
    await conn.execute(_NUMBER_LOCK)
    async with conn.cursor(row_factory=kwargs_row(_build)) as cursor:
        await cursor.execute(
            "INSERT INTO projection_builds (projection, version, build, state)"
            " SELECT %(projection)s, %(version)s, coalesce(max(build), 0) + 1, %(state)s"
            " FROM projection_builds WHERE projection = %(projection)s AND version = %(version)s"
            " RETURNING projection, version, build, state, identity::text",
            {"projection": projection, "version": version, "state": state.value},
        )
        build = await cursor.fetchone()
    assert build is not None
    return build


async def hold(conn: Connection, build: Build) -> bool:
    """Locks the build against every writer until the transaction ends; False where it is not in its state any more."""
    cursor = await conn.execute(
        "SELECT 1 FROM projection_builds WHERE (projection, version, build) = (%s, %s, %s) AND state = %s FOR UPDATE",
        (*build.id, build.state.value),
    )
    return await cursor.fetchone() is not None


async def set_state(conn: Connection, build: Build, state: State) -> None:
    await conn.execute(
        "UPDATE projection_builds SET state = %(state)s,"
        " live_at = CASE WHEN %(state)s = 'live' THEN now() ELSE live_at END,"
        " retired_at = CASE WHEN %(state)s = 'retired' THEN now() ELSE retired_at END"
        " WHERE (projection, version, build) = (%(projection)s, %(version)s, %(build)s)",
        {"state": state.value, "projection": build.projection, "version": build.version, "build": build.build},
    )


async def remove(conn: Connection, build: Build) -> None:
    """Forgets the build, its checkpoints and its dead letters."""
    await conn.execute("DELETE FROM projection_builds WHERE (projection, version, build) = (%s, %s, %s)", build.id)


async def checkpoints(conn: Connection, build: Build) -> Position:
    """How far the build has read each of its streams."""
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


# Moves a checkpoint only from where it is known to stand, and only while the build is in its state; the share lock
# makes a switch of builds wait for this transaction, and this transaction see a switch before it.
MOVE_CHECKPOINT = (
    "WITH held AS (SELECT FROM projection_builds WHERE (projection, version, build) = (%s, %s, %s)"
    " AND state = %s AND identity = %s FOR SHARE)"
    " UPDATE projection_checkpoints AS c SET sequence = %s, events_per_second = %s, updated_at = now() FROM held"
    " WHERE (c.projection, c.version, c.build) = (%s, %s, %s) AND c.stream = %s AND c.sequence = %s"
)


def _build(projection: str, version: int, build: int, state: str, identity: str) -> Build:
    return Build(projection=projection, version=version, build=build, state=State(state), identity=identity)


def _whole(value: object) -> int:
    assert isinstance(value, int)
    return value
