"""The engine's own tables and their migrations, in steps; the database records the steps applied.

Replicas of older and newer releases use the tables at the same time. So a step only adds: a table, an index, a column
that is nullable or has a default. It never renames, drops or narrows anything, and never changes the meaning of a
column or state; an older release works with a newer schema. Never edit a released step: add another one after it.
"""

import asyncio
import logging

import msgspec
from psycopg import errors

from contracts.errors import Unavailable
from projections.engine.storage.builds import Connection

log = logging.getLogger(__name__)
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('vestnik.projections.schema', 0))"
# A step needs an exclusive lock on its tables for a short time. Readers queue behind a waiting lock, and a verification
# may read for minutes. So a step waits only briefly, and retries.
_LOCK_TIMEOUT = "SET LOCAL lock_timeout = '50ms'"
# For other processes that migrate the schema at the same time. No reader waits behind this lock.
_TURN_TIMEOUT = "SET LOCAL lock_timeout = '10s'"
_PAUSE_SECONDS = 0.05
_PATIENCE_SECONDS = 60.0


class Step(msgspec.Struct, frozen=True):
    """One change of the schema; its number is its position in `STEPS`, from 1."""

    title: str
    statements: str


STEPS = (
    # With IF NOT EXISTS, since some databases are older than the recording of steps.
    Step(
        "builds, checkpoints and dead letters",
        """
        CREATE TABLE IF NOT EXISTS projection_builds (
            projection text,
            version integer,
            build integer,
            state text NOT NULL CHECK (state IN ('building', 'live', 'retired', 'shadow')),
            -- Distinguishes this build from one with the same number in a database that was recreated.
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
        """,
    ),
    Step(
        "tables, code and progress of builds",
        """
        ALTER TABLE projection_builds
            -- The tables' physical names in the order of the DDL, to drop a version without having its code.
            ADD COLUMN tables text[],
            -- A digest of the projection's module: a build that other code has started is not resumed.
            ADD COLUMN code text;
        CREATE TABLE projection_progress (
            projection text,
            version integer,
            build integer,
            -- Of the events that pass the filters: read so far, and in total.
            events bigint NOT NULL,
            total bigint NOT NULL,
            events_per_second double precision NOT NULL,
            updated_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (projection, version, build),
            FOREIGN KEY (projection, version, build) REFERENCES projection_builds ON DELETE CASCADE
        ) WITH (fillfactor = 20);
        """,
    ),
    Step(
        "retries and discards of dead letters, and a runner's last error",
        """
        ALTER TABLE projection_builds
            -- Incremented when a dead letter is resolved: the build's writer asserts the value that it has read.
            ADD COLUMN letters_revision bigint NOT NULL DEFAULT 0;
        ALTER TABLE projection_dead_letters
            ADD COLUMN attempts integer NOT NULL DEFAULT 1,
            ADD COLUMN tried_at timestamptz NOT NULL DEFAULT now();
        CREATE INDEX projection_dead_letters_subject
            ON projection_dead_letters (projection, version, build, subject, sequence);
        -- Of a version, not of a build: every later build skips these events too.
        CREATE TABLE projection_discards (
            projection text,
            version integer,
            stream text,
            sequence bigint,
            -- The build in which the event failed.
            build integer NOT NULL,
            subject text NOT NULL,
            type text NOT NULL,
            error text NOT NULL,
            reason text NOT NULL,
            discarded_by text NOT NULL,
            discarded_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (projection, version, stream, sequence)
        );
        CREATE INDEX projection_discards_subject ON projection_discards (projection, version, subject);
        CREATE TABLE projection_errors (
            projection text,
            version integer,
            error text NOT NULL,
            at timestamptz NOT NULL,
            PRIMARY KEY (projection, version)
        );
        """,
    ),
    Step(
        "lost events of builds",
        """
        CREATE TABLE projection_lost_events (
            projection text,
            version integer,
            build integer,
            stream text,
            -- Both included.
            first bigint,
            last bigint NOT NULL,
            found_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (projection, version, build, stream, first),
            FOREIGN KEY (projection, version, build) REFERENCES projection_builds ON DELETE CASCADE
        );
        """,
    ),
    Step(
        "a flag for projections that have failed",
        "ALTER TABLE projection_errors ADD COLUMN failing boolean NOT NULL DEFAULT false;",
    ),
    Step(
        "the row that a dead letter is folded into",
        """
        -- Its table and key, whose later events wait with it; NULL: it is not folded, its aggregate's events wait.
        ALTER TABLE projection_dead_letters ADD COLUMN fold_key text;
        -- Of digests, since an index holds no texts as long as a key may be.
        CREATE INDEX projection_dead_letters_lane
            ON projection_dead_letters (projection, version, build, (md5(coalesce(fold_key, subject))), sequence);
        """,
    ),
    Step(
        "views and functions of builds",
        """
        ALTER TABLE projection_builds
            -- The build's tables, views and functions in the order of their creation, such as `view people_v1_b2`.
            -- NULL: it has tables only.
            ADD COLUMN objects text[];
        """,
    ),
    Step(
        "pauses of projections",
        """
        CREATE TABLE projection_pauses (
            projection text,
            version integer,
            reason text NOT NULL,
            paused_by text NOT NULL,
            paused_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (projection, version)
        );
        """,
    ),
    Step(
        "where builds begin",
        """
        ALTER TABLE projection_builds
            -- By stream: the sequence after which the build begins. NULL: it begins with the first event.
            ADD COLUMN begins_after jsonb;
        """,
    ),
)


async def ensure_schema(conn: Connection) -> None:
    """Migrates the engine's tables; concurrent calls are safe.

    Raises:
        Unavailable: the tables could not be locked within a minute.
    """
    if await _version(conn) >= len(STEPS):
        return
    deadline = asyncio.get_running_loop().time() + _PATIENCE_SECONDS
    while True:
        try:
            if await _next_step(conn):
                return
        except errors.LockNotAvailable as error:
            if asyncio.get_running_loop().time() > deadline:
                raise Unavailable("The projection engine's tables are in use; their migration has to wait.") from error
            await asyncio.sleep(_PAUSE_SECONDS)


async def create_schema(conn: Connection) -> None:
    """Creates the engine's tables in the first schema of the connection's search path, whatever other schemas hold."""
    async with conn.transaction():
        for step in STEPS:
            await conn.execute(step.statements.encode())


async def _next_step(conn: Connection) -> bool:
    """Applies one step under the lock; returns whether no step is left."""
    async with conn.transaction():
        await conn.execute(_TURN_TIMEOUT)
        await conn.execute(_LOCK)
        await conn.execute(_LOCK_TIMEOUT)
        # Before the check: whether a table exists may be cached from before the lock was acquired.
        await conn.execute(
            "CREATE TABLE IF NOT EXISTS projection_schema"
            " (version integer PRIMARY KEY, title text NOT NULL, at timestamptz NOT NULL DEFAULT now())"
        )
        done = await _steps_taken(conn)
        if done >= len(STEPS):
            return True
        step = STEPS[done]
        await conn.execute(step.statements.encode())
        await conn.execute("INSERT INTO projection_schema (version, title) VALUES (%s, %s)", (done + 1, step.title))
    log.info("migrated the projections' schema to version %d: %s", done + 1, step.title)
    return done + 1 == len(STEPS)


async def _version(conn: Connection) -> int:
    """The number of steps applied to the database; more than `STEPS` has if a newer release migrated it."""
    cursor = await conn.execute("SELECT to_regclass('projection_schema') IS NOT NULL")
    return await _steps_taken(conn) if await cursor.fetchone() == (True,) else 0


async def _steps_taken(conn: Connection) -> int:
    cursor = await conn.execute("SELECT coalesce(max(version), 0) FROM projection_schema")
    row = await cursor.fetchone()
    assert row is not None
    return int(str(row[0]))
