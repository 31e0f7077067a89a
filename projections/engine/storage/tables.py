"""A build's tables: created from the projection's DDL, inspected in the catalog, exposed by the views."""

import re
from typing import NamedTuple

from psycopg import errors, sql

from infra.operator_errors import OperatorError
from projections.engine.projection import Projection
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
# The end of a statement, and the comments and literals in which a semicolon does not end one.
_TOKEN = re.compile(r"""--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'|"[^"]*"|(\$\w*\$).*?\1|(;)""", re.DOTALL)
_INDEX = re.compile(r"(?:--[^\n]*\n|/\*.*?\*/|\s)*CREATE\s+INDEX\b", re.IGNORECASE | re.DOTALL)
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


async def create(conn: Connection, projection: type[Projection], build: Build) -> None:
    """Creates the build's tables, empty and without the indexes that only readers need.

    Raises:
        BadTables: a table has no primary key or would not survive a crash, or the DDL does not use `{name}` for each.
    """
    if not projection.table_names():
        raise BadTables(f"projection {projection.name} does not create the table {{name}}")
    if re.search(r"\bUNLOGGED\b", projection.tables, re.IGNORECASE):
        # A crash would empty the table and keep the checkpoint.
        raise BadTables(f"projection {projection.name}: an unlogged table does not survive a crash")
    for statement in _statements(projection, build):
        if not _INDEX.match(statement):
            await conn.execute(statement.encode())
    await inspect(conn, projection, build)


async def add_indexes(conn: Connection, projection: type[Projection], build: Build) -> bool:
    """Creates the indexes that only readers need, and the planner's statistics; False if no index was created.

    Runs after the build was filled: one pass over all rows costs a fraction of maintaining the indexes with each row.
    The build's writer waits meanwhile.
    """
    statements = [statement for statement in _statements(projection, build) if _INDEX.match(statement)]
    names = physical_names(projection, build).values()
    async with conn.transaction():
        # The indexes are created in one transaction: if one exists, all do.
        for name in names:
            cursor = await conn.execute(_ON_TABLE, (name,))
            if await cursor.fetchone() == (True,):
                return False
        await conn.execute(_SORT_IN)
        for statement in statements:
            await conn.execute(statement.encode())
        # Without statistics the first readers after the cutover would get plans for tables of unknown size.
        for name in names:
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
    """Points a table's view at the build.

    Raises:
        BadTables: the columns differ from those of the previous table.
    """
    view = projection.view(name)
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


def _statements(projection: type[Projection], build: Build) -> list[str]:
    """The statements of the DDL for this build."""
    text = projection.with_tables(projection.tables, physical_names(projection, build))
    statements, begin = [], 0
    for token in _TOKEN.finditer(text):
        if token[2]:
            statements.append(text[begin : token.start()])
            begin = token.end()
    return [statement for statement in (*statements, text[begin:]) if statement.strip()]
