"""A build's tables: created from the projection's DDL, inspected in the catalog, exposed by the views."""

import re
from collections.abc import Mapping
from typing import NamedTuple

from psycopg import errors, sql

from infra.operator_errors import OperatorError
from projections.engine.definitions import Definition, Kind
from projections.engine.projection import Projection
from projections.engine.storage import build_objects
from projections.engine.storage.build_objects import BuildObject
from projections.engine.storage.builds import Build, Connection

_COLUMNS = """
SELECT a.attname, format_type(a.atttypid, NULL), array_position(i.indkey::int2[], a.attnum)
FROM pg_attribute AS a
LEFT JOIN pg_index AS i ON i.indrelid = a.attrelid AND i.indisprimary
WHERE a.attrelid = to_regclass(%s) AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum
"""


_ON_TABLE = """
SELECT EXISTS (
    SELECT FROM pg_index AS i WHERE i.indrelid = to_regclass(%s) AND NOT i.indisunique
    AND NOT EXISTS (SELECT FROM pg_constraint AS c WHERE c.conindid = i.indexrelid)
)
"""
# The relations that a view reads, its own build's excepted.
_READ_ELSEWHERE = """
SELECT c.relname::text FROM pg_depend AS d
JOIN pg_rewrite AS r ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
JOIN pg_class AS c ON d.refclassid = 'pg_class'::regclass AND d.refobjid = c.oid
WHERE r.ev_class = to_regclass(%s) AND c.oid <> r.ev_class AND c.oid <> ALL (
    SELECT coalesce(to_regclass(name), 0) FROM unnest(%s::text[]) AS name
) LIMIT 1
"""
_IS_TEMPORARY = "SELECT pg_my_temp_schema() <> 0 AND current_schema() = pg_my_temp_schema()::regnamespace::name"
_FUNCTIONS = (Kind.FUNCTION, Kind.TRIGGER_FUNCTION)
_OBJECTS = {
    Kind.TABLE: build_objects.TABLE,
    Kind.VIEW: build_objects.VIEW,
    Kind.FUNCTION: build_objects.FUNCTION,
    Kind.TRIGGER_FUNCTION: build_objects.FUNCTION,
}
_CREATE_FUNCTION = re.compile(r"CREATE\s+(?:OR\s+REPLACE\s+)?FUNCTION\b", re.IGNORECASE)
# Sort memory for a build that does not serve readers yet.
_SORT_IN = "SET LOCAL maintenance_work_mem = '256MB'"


class Table(NamedTuple):
    """A table as described by the catalog."""

    # The name inside the braces, and the table's name in this build.
    name: str
    physical: str
    # The primary key's columns, in its order.
    key: tuple[str, ...]
    # Types by column, including the key's.
    types: dict[str, str]


class BadTables(OperatorError):
    """A projection's tables do not meet the engine's requirements."""


def physical_names(projection: type[Projection], build: Build) -> dict[str, str]:
    """The names of the build's tables by the names inside the braces, in the order of the DDL."""
    return {table: build.table(projection.view(table)) for table in projection.table_names()}


def objects(projection: type[Projection], build: Build) -> list[BuildObject]:
    """The build's tables, views and functions, in the order in which they are created."""
    return [
        BuildObject(_OBJECTS[definition.kind], build.table(projection.reader_name(definition.name)))
        for definition in projection.definitions()
        if definition.kind in _OBJECTS
    ]


async def create(conn: Connection, projection: type[Projection], build: Build) -> None:
    """Creates the build's tables, empty and without the indexes that only readers need, its views and functions.

    Raises:
        BadTables: a table has no primary key or would not survive a crash, the DDL does not use `{name}` for each, or
            the database refuses a statement.
        ValueError: a statement is not allowed.
    """
    if not projection.table_names():
        raise BadTables(f"projection {projection.name} does not create the table {{name}}")
    names = await _names_in_build(conn, projection, build)
    for definition in projection.definitions():
        if definition.kind is Kind.INDEX:
            continue
        try:
            await conn.execute(projection.with_tables(definition.statement, names).encode())
        except errors.ProgrammingError as error:
            raise BadTables(f"{projection.at_line(definition.line)}: {error.diag.message_primary}") from error
        if definition.kind is Kind.VIEW:
            await _check_reads(conn, projection, definition, names)
    await inspect(conn, projection, build)


async def _names_in_build(conn: Connection, projection: type[Projection], build: Build) -> dict[str, str]:
    """What the names inside the braces stand for among the build's own objects."""
    names = {
        definition.name: build.table(projection.reader_name(definition.name))
        for definition in projection.definitions()
        if definition.kind in _OBJECTS
    }
    functions = [definition.name for definition in projection.definitions() if definition.kind in _FUNCTIONS]
    if functions and await (await conn.execute(_IS_TEMPORARY)).fetchone() == (True,):
        # Temporary functions are not looked for, so each is called by its whole name.
        names |= {name: f"pg_temp.{names[name]}" for name in functions}
    return names


async def _check_reads(
    conn: Connection, projection: type[Projection], definition: Definition, names: Mapping[str, str]
) -> None:
    """
    Raises:
        BadTables: the view reads something else than this projection's tables and views.
    """
    cursor = await conn.execute(_READ_ELSEWHERE, (names[definition.name], list(names.values())))
    row = await cursor.fetchone()
    if row is not None:
        raise BadTables(
            f"{projection.at_line(definition.line)}: the view {{{definition.name}}} reads {row[0]}; it may read this"
            " projection's tables and views only, named in braces"
        )


async def add_indexes(conn: Connection, projection: type[Projection], build: Build) -> bool:
    """Creates the indexes that only readers need, and the planner's statistics; False if no index was created.

    Runs after the build was filled: one pass over all rows costs a fraction of maintaining the indexes with each row.
    The build's writer waits meanwhile.
    """
    names = await _names_in_build(conn, projection, build)
    statements = [
        projection.with_tables(definition.statement, names)
        for definition in projection.definitions()
        if definition.kind is Kind.INDEX
    ]
    tables = physical_names(projection, build).values()
    async with conn.transaction():
        # The indexes are created in one transaction: if one exists, all do.
        for name in tables:
            cursor = await conn.execute(_ON_TABLE, (name,))
            if await cursor.fetchone() == (True,):
                return False
        await conn.execute(_SORT_IN)
        for statement in statements:
            await conn.execute(statement.encode())
        # Without statistics the first readers after the cutover would get plans for tables of unknown size.
        for name in tables:
            await conn.execute(sql.SQL("ANALYZE {}").format(sql.Identifier(name)))
    return bool(statements)


async def inspect(conn: Connection, projection: type[Projection], build: Build) -> dict[str, Table]:
    """The build's tables as described by the catalog, by the names inside the braces.

    Raises:
        BadTables: a table is missing or has no primary key.
    """
    tables: dict[str, Table] = {}
    for name in projection.table_names():
        physical = build.table(projection.view(name))
        cursor = await conn.execute(_COLUMNS, (physical,))
        types: dict[str, str] = {}
        ranks: dict[str, int] = {}
        for column, kind, rank in await cursor.fetchall():
            types[str(column)] = str(kind)
            if isinstance(rank, int):
                ranks[str(column)] = rank
        if not ranks:
            raise BadTables(f"projection {projection.name}: table {physical} is missing or has no primary key")
        tables[name] = Table(name, physical, tuple(sorted(ranks, key=ranks.__getitem__)), types)
    return tables


async def show(conn: Connection, projection: type[Projection], build: Build, name: str) -> None:
    """Points the view that readers see of a table or view at the build.

    Raises:
        BadTables: the columns differ from those of the previous build.
    """
    view = projection.reader_name(name)
    try:
        await conn.execute(
            sql.SQL("CREATE OR REPLACE VIEW {} AS SELECT * FROM {}").format(
                sql.Identifier(view), sql.Identifier(build.table(view))
            )
        )
    except errors.InvalidTableDefinition as error:
        raise BadTables(
            f"projection {projection.name}: the columns of {name} have changed; raise its version"
        ) from error


async def show_functions(conn: Connection, projection: type[Projection], names: Mapping[str, str]) -> None:
    """Creates the functions that readers call; they use what the names inside the braces stand for in `names`.

    Raises:
        BadTables: a function's parameters or columns differ from the previous one's.
    """
    for definition in projection.definitions():
        if definition.kind is not Kind.FUNCTION:
            continue
        statement = _CREATE_FUNCTION.sub("CREATE OR REPLACE FUNCTION", definition.statement, count=1)
        try:
            await conn.execute(projection.with_tables(statement, names).encode())
        except errors.InvalidFunctionDefinition as error:
            raise BadTables(
                f"{projection.at_line(definition.line)}: the function {{{definition.name}}} has changed; raise the"
                " projection's version"
            ) from error
