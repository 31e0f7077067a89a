"""A build's tables: made from the projection's DDL, read back from the catalog, shown under the views, dropped."""

from psycopg import errors, sql

from infra.failures import Failure
from projections.engine.builds import Build, Connection
from projections.engine.projection import Projection
from projections.engine.rows import Table

_COLUMNS = """
SELECT a.attname, format_type(a.atttypid, NULL), array_position(i.indkey::int2[], a.attnum)
FROM pg_attribute AS a
LEFT JOIN pg_index AS i ON i.indrelid = a.attrelid AND i.indisprimary
WHERE a.attrelid = to_regclass(%s) AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum
"""


class BadTables(Failure):
    """A projection's tables are not as the engine needs them."""


async def create(conn: Connection, projection: type[Projection], build: Build) -> None:
    """Creates the build's tables, empty.

    Raises:
        BadTables: a table has no primary key, or the DDL does not use `{name}` for each table.
    """
    names = {table: build.table(projection.view(table)) for table in projection.table_names()}
    if not names:
        raise BadTables(f"projection {projection.name} creates no table {{name}}")
    await conn.execute(projection.with_tables(projection.tables, names).encode())
    await inspect(conn, projection, build)


async def inspect(conn: Connection, projection: type[Projection], build: Build) -> dict[str, Table]:
    """The build's tables as the catalog has them.

    Raises:
        BadTables: a table is not there, or has no primary key.
    """
    found: dict[str, Table] = {}
    for name in projection.table_names():
        physical = build.table(projection.view(name))
        cursor = await conn.execute(_COLUMNS, (physical,))
        types: dict[str, str] = {}
        places: dict[str, int] = {}
        for column, kind, place in await cursor.fetchall():
            types[str(column)] = str(kind)
            if isinstance(place, int):
                places[str(column)] = place
        if not places:
            raise BadTables(f"projection {projection.name}: table {physical} is missing or has no primary key")
        found[name] = Table(name, physical, tuple(sorted(places, key=places.__getitem__)), types)
    return found


async def show(conn: Connection, projection: type[Projection], build: Build) -> None:
    """Puts the build's tables under the views.

    Raises:
        BadTables: their columns are others than those of the tables before.
    """
    for name in projection.table_names():
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


async def drop(conn: Connection, projection: type[Projection], build: Build) -> None:
    """Drops the build's tables; no view may show them."""
    for name in reversed(projection.table_names()):
        await conn.execute(
            sql.SQL("DROP TABLE IF EXISTS {}").format(sql.Identifier(build.table(projection.view(name))))
        )
