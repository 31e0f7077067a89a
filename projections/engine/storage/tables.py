"""A build's tables: created from the projection's DDL, inspected in the catalog, exposed by the views."""

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from psycopg import errors, sql

from infra.operator_errors import OperatorError
from projections.engine.definitions import Definition, Kind
from projections.engine.projection import Projection
from projections.engine.storage import build_objects
from projections.engine.storage.build_objects import BuildObject
from projections.engine.storage.builds import Build, BuildState, Connection
from projections.engine.storage.pg_text import MOMENTS

_COLUMNS = """
SELECT a.attname, format_type(a.atttypid, NULL), array_position(i.indkey::int2[], a.attnum),
    CASE WHEN a.attidentity <> '' THEN 'an identity' ELSE pg_get_expr(d.adbin, d.adrelid) END,
    a.atttypid = 'real'::regtype
        OR a.atttypmod <> -1 AND a.atttypid IN ('numeric'::regtype, 'timestamptz'::regtype, 'interval'::regtype)
FROM pg_attribute AS a
LEFT JOIN pg_index AS i ON i.indrelid = a.attrelid AND i.indisprimary
LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
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
# What relates rows to others than by the primary key.
_TIES = """
SELECT coalesce(
    (SELECT 'a unique index or an exclusion constraint' FROM pg_index WHERE indrelid = to_regclass(%(table)s)
        AND (indisunique OR indisexclusion) AND NOT indisprimary LIMIT 1),
    (SELECT 'a foreign key' FROM pg_constraint WHERE contype = 'f'
        AND to_regclass(%(table)s) IN (conrelid, confrelid) LIMIT 1)
)
"""
_IS_TEMPORARY = "SELECT pg_my_temp_schema() <> 0 AND current_schema() = pg_my_temp_schema()::regnamespace::name"
_FUNCTIONS = (Kind.FUNCTION, Kind.TRIGGER_FUNCTION)
_OBJECTS = {
    Kind.TABLE: build_objects.TABLE,
    Kind.VIEW: build_objects.VIEW,
    Kind.FUNCTION: build_objects.FUNCTION,
    Kind.TRIGGER_FUNCTION: build_objects.FUNCTION,
}
# Types whose names without a length mean the length 1, and the names that leave a value as it is.
_UNCUT = {"character": "bpchar", "bit": "bit varying"}
# Defaults, as PostgreSQL prints them: NULL, and zeros such as `0`, `0.00`, `'0'::bigint` and `'00:00:00'::interval`.
_TYPE = r"(?:::[a-z ]+(?:\([0-9,]+\))?)?"
_NULL = re.compile(rf"NULL{_TYPE}")
_ZERO = re.compile(rf"\(?'?-?0[0:.]*'?\)?{_TYPE}")
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
    # The column with the time from which a row is gone.
    ends: str | None = None
    # The columns whose defaults are not NULL, and those of them whose defaults are zero.
    defaults: frozenset[str] = frozenset()
    zero_defaults: frozenset[str] = frozenset()
    # The columns whose types round what is written, such as numeric(5, 2).
    rounded: frozenset[str] = frozenset()

    def rounds(self, column: str) -> bool:
        """Whether a sum depends on where it is rounded."""
        return column in self.rounded or self.types[column] == "double precision"


class BadTables(OperatorError):
    """A projection's tables do not meet the engine's requirements."""


def physical_names(projection: type[Projection], build: Build) -> dict[str, str]:
    """The names of the build's tables by the names inside the braces, in the order of the DDL."""
    return {table: build.table(projection.view(table)) for table in projection.table_names()}


def _current(projection: type[Projection], build: Build, table: str) -> str:
    """The view of those rows of a table that have not ended yet."""
    return build.table(f"{projection.view(table)}_current")


def _hides_ended(projection: type[Projection], build: Build, table: str) -> bool:
    """Whether readers see a table through its view of current rows; an isolated build has no readers."""
    return table in projection.expires and build.state is not BuildState.SHADOW


def relation_shown(projection: type[Projection], build: Build, name: str) -> str:
    """What readers see of a build under a name inside the braces."""
    if _hides_ended(projection, build, name):
        return _current(projection, build, name)
    return build.table(projection.reader_name(name))


def objects(projection: type[Projection], build: Build) -> list[BuildObject]:
    """The build's tables, views and functions, in the order in which they are created."""
    created: list[BuildObject] = []
    for definition in projection.definitions():
        if definition.kind in _OBJECTS:
            name = build.table(projection.reader_name(definition.name))
            created.append(BuildObject(_OBJECTS[definition.kind], name))
        if definition.kind is Kind.TABLE and _hides_ended(projection, build, definition.name):
            created.append(BuildObject(build_objects.VIEW, _current(projection, build, definition.name)))
    return created


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
    hiding = {table: _current(projection, build, table) for table in names if _hides_ended(projection, build, table)}
    for definition in projection.definitions():
        if definition.kind is Kind.INDEX:
            continue
        known = names | hiding if definition.kind in (Kind.VIEW, Kind.FUNCTION) else names
        try:
            await conn.execute(projection.with_tables(definition.statement, known).encode())
            if definition.kind is Kind.TABLE and definition.name in hiding:
                await _create_current(conn, projection, definition.name, names, hiding)
        except errors.ProgrammingError as error:
            raise BadTables(f"{projection.at_line(definition.line)}: {error.diag.message_primary}") from error
        if definition.kind is Kind.VIEW:
            await _check_reads(
                conn, projection, definition, names[definition.name], {*names.values(), *hiding.values()}
            )
    await inspect(conn, projection, build)


async def _names_in_build(conn: Connection, projection: type[Projection], build: Build) -> dict[str, str]:
    """Maps the names inside the braces to the build's own objects."""
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


async def _create_current(
    conn: Connection, projection: type[Projection], table: str, names: Mapping[str, str], hiding: Mapping[str, str]
) -> None:
    await conn.execute(
        sql.SQL("CREATE VIEW {} AS SELECT * FROM {} WHERE {ends} IS NULL OR {ends} > now()").format(
            sql.Identifier(hiding[table]), sql.Identifier(names[table]), ends=sql.Identifier(projection.expires[table])
        )
    )


async def _check_reads(
    conn: Connection, projection: type[Projection], definition: Definition, view: str, own: Iterable[str]
) -> None:
    """
    Raises:
        BadTables: the view reads something else than this projection's tables and views.
    """
    cursor = await conn.execute(_READ_ELSEWHERE, (view, list(own)))
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
    # For the search of rows to remove.
    statements += [
        f"CREATE INDEX ON {names[table]} ({sql.Identifier(ends).as_string(conn)})"
        for table, ends in projection.expires.items()
    ]
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
        BadTables: a table is missing or has no primary key, or its rows end and are tied to others.
    """
    tables: dict[str, Table] = {}
    for name in projection.table_names():
        physical = build.table(projection.view(name))
        cursor = await conn.execute(_COLUMNS, (physical,))
        types: dict[str, str] = {}
        ranks: dict[str, int] = {}
        defaults: set[str] = set()
        zeros: set[str] = set()
        rounded: set[str] = set()
        for column, kind, rank, default, rounds in await cursor.fetchall():
            item = str(kind).removesuffix("[]")
            types[str(column)] = str(kind).replace(item, _UNCUT.get(item, item))
            if "%" in str(column):
                raise BadTables(f"projection {projection.name}: {name} has a column {column!r}: a name has no %")
            if rounds:
                rounded.add(str(column))
            if default is not None and not _NULL.fullmatch(str(default)):
                defaults.add(str(column))
                if _ZERO.fullmatch(str(default)):
                    zeros.add(str(column))
            if isinstance(rank, int):
                ranks[str(column)] = rank
        if not ranks:
            raise BadTables(f"projection {projection.name}: table {physical} is missing or has no primary key")
        ends = projection.expires.get(name)
        if ends is not None and types.get(ends) != MOMENTS:
            raise BadTables(f"projection {projection.name}: {name} has no column {ends} of type timestamptz")
        if ends is not None:
            await _check_ties(conn, projection, name, physical)
        key = tuple(sorted(ranks, key=ranks.__getitem__))
        tables[name] = Table(
            name, physical, key, types, ends, frozenset(defaults), frozenset(zeros), frozenset(rounded)
        )
    return tables


async def _check_ties(conn: Connection, projection: type[Projection], name: str, physical: str) -> None:
    """Checks that no constraint relates rows that end to others: some of these rows may not have been removed yet.

    Raises:
        BadTables: the table has a unique column besides its primary key, or a foreign key leads from it or to it.
    """
    row = await (await conn.execute(_TIES, {"table": physical})).fetchone()
    if row is not None and row[0] is not None:
        raise BadTables(
            f"projection {projection.name}: the rows of {name} end, so it has no unique columns besides its primary key"
            f" and no foreign keys lead from it or to it; it has {row[0]}"
        )


async def show(conn: Connection, projection: type[Projection], build: Build, name: str) -> None:
    """Points the view that readers see of a table or view at the build.

    Raises:
        BadTables: the columns differ from those of the previous build.
    """
    view = projection.reader_name(name)
    try:
        await conn.execute(
            sql.SQL("CREATE OR REPLACE VIEW {} AS SELECT * FROM {}").format(
                sql.Identifier(view), sql.Identifier(relation_shown(projection, build, name))
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
