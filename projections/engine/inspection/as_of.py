"""Builds read models as of a past time into a separate schema of the database, for inspection.

The build is made in a draft schema and published under the target's name only when complete. An interrupted build never
looks like a result, and the next call removes it. Live builds are neither changed nor read.
"""

import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime

import msgspec
from nats.aio.client import Client as NATS
from psycopg import Error as DatabaseError
from psycopg import errors, sql

from contracts.errors import Unavailable
from contracts.positions import Position
from contracts.values.timestamps import rfc3339
from infra.operator_errors import OperatorError
from projections.engine.dead_letters import discards
from projections.engine.erasing import ERASED
from projections.engine.inspection import isolated_build
from projections.engine.projection import Projection
from projections.engine.reading import begin
from projections.engine.reading.time_position import position_at
from projections.engine.rebuild.progress import Report, ignore_progress
from projections.engine.storage import build_objects, ended_rows, tables
from projections.engine.storage.build_objects import BuildObject
from projections.engine.storage.builds import Connection
from projections.engine.storage.connections import close_and_unlock, connect, try_lock
from projections.engine.storage.schema import create_schema

# Names that need no quotes in SQL.
_NAME = re.compile(r"[a-z_][a-z0-9_]{0,47}")
_UNFINISHED = "_unfinished"
# Comments that identify the schemas created here.
_MARK = "Vestnik, as of "
_MARK_UNFINISHED = "Vestnik, unfinished"
_LETTERS = "dead_letters"
_LOCK_TIMEOUT = "SET LOCAL lock_timeout = '5s'"
# Tables, views and functions, in the order in which they were created.
_PUBLISHED_IN = """
SELECT CASE relkind WHEN 'v' THEN 'view' ELSE 'table' END, relname::text, oid::bigint FROM pg_class
WHERE relnamespace = to_regnamespace(%(schema)s) AND relkind IN ('r', 'p', 'v')
UNION ALL SELECT 'function', proname::text, oid::bigint FROM pg_proc WHERE pronamespace = to_regnamespace(%(schema)s)
ORDER BY 3
"""
_OBJECTS_IN = """
SELECT (
    (SELECT count(*) FROM pg_class WHERE relnamespace = to_regnamespace(%(schema)s))
    + (SELECT count(*) FROM pg_proc WHERE pronamespace = to_regnamespace(%(schema)s))
)::int
"""
_COMMENT = "SELECT coalesce(obj_description(to_regnamespace(%s), 'pg_namespace'), '')"


class BadSchema(OperatorError):
    """The schema cannot be used as the target."""


class NothingHappened(OperatorError):
    """The time is before the first event."""

    def __init__(self, moment: datetime) -> None:
        super().__init__(f"there were no events until {rfc3339(moment)}")


class Built(msgspec.Struct, frozen=True, kw_only=True):
    """A read model that was built as of a past time."""

    projection: str
    version: int
    as_of: str
    schema: str
    # Number of rows by table.
    tables: dict[str, int]
    position: dict[str, int]
    events: int
    # Events that failed, or are parked behind a failed one; the table `dead_letters` lists them.
    dead_letters: int
    seconds: float
    events_per_second: float


class AsOf:
    """A draft schema, as returned by `opened`; `build` may run for several projections concurrently."""

    def __init__(self, conn: Connection, nc: NATS, database_url: str, schema: str, moment: datetime) -> None:
        self._conn = conn
        self._nc = nc
        self._database_url = database_url
        self._schema = schema
        self._draft = schema + _UNFINISHED
        self._moment = moment
        # Each table's and view's name in the draft, mapped to its published name.
        self._names: dict[str, str] = {}
        # The same of functions that readers may call.
        self._functions: dict[str, str] = {}
        self._projections: list[type[Projection]] = []
        self._built: list[str] = []
        self._events = 0

    async def build(self, projection: type[Projection], report: Report = ignore_progress) -> Built:
        """Builds the read model as of the time, in the draft.

        Raises:
            BadSchema: another projection has a table of the same name.
            BadBegin, NotBegun: it has begun elsewhere than its class says, or not yet.
            Unavailable: the database or NATS does not answer.
        """
        begun = time.monotonic()
        published = {_LETTERS, *self._names.values(), *self._functions.values()}
        clashes = [name for name in _published_names(projection).values() if name in published]
        if clashes:
            raise BadSchema(f"{projection.name}: the schema gets another table {clashes[0]}")
        left_out = discards.of_version(await discards.recorded(self._nc), projection.name, projection.version)
        after = await begin.required(self._nc, projection)
        conn = await connect(self._database_url, f"as of {projection.name}")
        try:
            position = await position_at(self._nc, projection, self._moment)
            await isolated_build.use_schema(conn, self._draft)
            filling = await isolated_build.create_isolated_build(conn, projection, left_out, after)
            physical = tables.physical_names(projection, filling.build)
            build = filling.build
            shown = _published_names(projection)
            names = {name: build.table(readers) for name, readers in projection.reader_names().items()}
            functions = projection.function_names()
            self._names |= {in_draft: shown[name] for name, in_draft in names.items() if name not in functions}
            self._functions |= {in_draft: shown[name] for name, in_draft in names.items() if name in functions}
            self._projections.append(projection)
            counting = isolated_build.ProgressCounter(position, 1, report)
            events = await isolated_build.replay_into(
                filling, projection, self._nc, position, list(position.sequences), counting
            )
            for table in (await tables.inspect(conn, projection, filling.build)).values():
                if table.ends is not None:
                    await ended_rows.remove_until(conn, table, self._moment)
            await tables.add_indexes(conn, projection, filling.build)
            rows = {shown[table]: await _count(conn, name) for table, name in physical.items()}
        except DatabaseError as error:
            raise Unavailable(f"{projection.name}: {error}".partition("\n")[0]) from error
        finally:
            await close_and_unlock(conn)
        self._events += events
        self._built.append(f"{projection.name} version {projection.version} ({_reached(position)})")
        seconds = time.monotonic() - begun
        return Built(
            projection=projection.name,
            version=projection.version,
            as_of=rfc3339(self._moment),
            schema=self._schema,
            tables=rows,
            position=dict(position.sequences),
            events=events,
            dead_letters=sum(filling.letters),
            seconds=round(seconds, 3),
            events_per_second=round(events / seconds, 1) if seconds else 0.0,
        )

    async def publish(self) -> None:
        """Publishes the draft under the schema's name in one transaction, replacing the previous tables.

        Raises:
            NothingHappened: no event was applied.
            BadSchema: the previous tables are being read, or other objects depend on them.
        """
        if not self._events:
            raise NothingHappened(self._moment)
        target, draft = sql.Identifier(self._schema), sql.Identifier(self._draft)
        try:
            async with self._conn.transaction():
                await self._conn.execute(_LOCK_TIMEOUT)
                await self._conn.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(target))
                await self._conn.execute(sql.SQL("SET LOCAL search_path = {}").format(target))
                await build_objects.drop(self._conn, await _published(self._conn, self._schema))
                await self._conn.execute(sql.SQL("SET LOCAL search_path = {}").format(draft))
                for name in self._names:
                    await build_objects.drop_triggers(self._conn, name)
                for kind, names in (("TABLE", self._names), ("FUNCTION", self._functions)):
                    for name, published in names.items():
                        await self._conn.execute(
                            sql.SQL("ALTER {kind} {}.{} RENAME TO {}; ALTER {kind} {}.{} SET SCHEMA {}").format(
                                draft,
                                sql.Identifier(name),
                                sql.Identifier(published),
                                draft,
                                sql.Identifier(published),
                                target,
                                kind=sql.SQL(kind),
                            )
                        )
                await self._conn.execute(sql.SQL("SET LOCAL search_path = {}").format(target))
                for projection in self._projections:
                    names = {
                        name: f'"{self._schema}"."{shown}"' for name, shown in _published_names(projection).items()
                    }
                    await tables.show_functions(self._conn, projection, names)
                await self._conn.execute(
                    sql.SQL(
                        "CREATE TABLE {}.{} AS SELECT projection, stream, sequence, subject, type, state, reason"
                        " FROM {}.projection_dead_letters ORDER BY projection, stream, sequence"
                    ).format(target, sql.Identifier(_LETTERS), draft)
                )
                await self._conn.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(draft))
                comment = f"{_MARK}{rfc3339(self._moment)}: {', '.join(sorted(self._built))}"
                await self._conn.execute(sql.SQL("COMMENT ON SCHEMA {} IS {}").format(target, sql.Literal(comment)))
        except errors.LockNotAvailable as error:
            raise BadSchema(f"the schema {self._schema} is being read: it was left unchanged") from error
        except errors.DependentObjectsStillExist as error:
            raise BadSchema(f"other objects depend on the schema {self._schema}, which was left unchanged") from error


def _published_names(projection: type[Projection]) -> dict[str, str]:
    """What the projection's tables, views and functions are called in the target, by the names inside the braces: the
    same, except for the table that every projection with personal data has."""
    return {name: f"{projection.name}_{name}" if name == ERASED else name for name in projection.reader_names()}


@asynccontextmanager
async def opened(
    nc: NATS,
    database_url: str,
    schema: str,
    moment: datetime,
    *,
    replace: bool = False,
) -> AsyncIterator[AsOf]:
    """Yields an empty draft; it is dropped at the end if it was not published.

    Raises:
        BadSchema: the name is invalid, the schema holds something else, or another call is building it.
        Unavailable: the database does not answer.
    """
    if _NAME.fullmatch(schema) is None or schema.startswith("pg_") or schema == "public":
        raise BadSchema(
            f"{schema!r} is not a valid name: lower-case letters, digits and _, at most 48, not public, not "
            "starting with pg_"
        )
    conn = await connect(database_url, f"as of, into {schema}")
    try:
        if not await try_lock(conn, _lock(schema)):
            raise BadSchema(f"the schema {schema} is being built by another call")
        await _assert_usable(conn, schema, replace)
        await _drop_unfinished(conn)
        draft = schema + _UNFINISHED
        await _create_draft(conn, draft)
        try:
            yield AsOf(conn, nc, database_url, schema, moment)
        finally:
            if not conn.closed:
                await conn.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(draft)))
    except DatabaseError as error:
        raise Unavailable(f"the schema {schema} was not built: {error}".partition("\n")[0]) from error
    finally:
        await close_and_unlock(conn)


async def _assert_usable(conn: Connection, schema: str, replace: bool) -> None:
    cursor = await conn.execute(_OBJECTS_IN, {"schema": schema})
    if await cursor.fetchone() == (0,):
        return
    comment = await _comment(conn, schema)
    if not comment.startswith(_MARK):
        raise BadSchema(f"the schema {schema} has other contents: choose another schema")
    if not replace:
        raise BadSchema(f"the schema {schema} exists ({comment}): use --replace, or choose another schema")


async def _create_draft(conn: Connection, draft: str) -> None:
    async with conn.transaction():
        await conn.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(draft)))
        await conn.execute(
            sql.SQL("COMMENT ON SCHEMA {} IS {}").format(sql.Identifier(draft), sql.Literal(_MARK_UNFINISHED))
        )
        await conn.execute(sql.SQL("SET LOCAL search_path = {}").format(sql.Identifier(draft)))
        await create_schema(conn)


async def _drop_unfinished(conn: Connection) -> None:
    """Removes the drafts of interrupted calls, of every target."""
    cursor = await conn.execute(
        "SELECT nspname::text FROM pg_namespace WHERE obj_description(oid, 'pg_namespace') = %s", (_MARK_UNFINISHED,)
    )
    for (draft,) in await cursor.fetchall():
        # Advisory locks are reentrant: this connection's own one is granted again.
        if await try_lock(conn, _lock(str(draft).removesuffix(_UNFINISHED))):
            await conn.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(str(draft))))


async def _comment(conn: Connection, schema: str) -> str:
    row = await (await conn.execute(_COMMENT, (schema,))).fetchone()
    return "" if row is None else str(row[0])


async def _published(conn: Connection, schema: str) -> list[BuildObject]:
    cursor = await conn.execute(_PUBLISHED_IN, {"schema": schema})
    return [BuildObject(str(kind), str(name)) for kind, name, _ in await cursor.fetchall()]


async def _count(conn: Connection, name: str) -> int:
    row = await (await conn.execute(sql.SQL("SELECT count(*)::bigint FROM {}").format(sql.Identifier(name)))).fetchone()
    assert row is not None
    return int(str(row[0]))


def _lock(schema: str) -> str:
    return f"vestnik.projections.as_of.{schema}"


def _reached(position: Position) -> str:
    return ", ".join(f"{stream} {sequence}" for stream, sequence in position.sequences.items())
