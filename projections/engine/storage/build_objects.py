"""What a build consists of in the database: its tables, views and functions, and how they are dropped."""

import re
from collections.abc import Sequence
from typing import NamedTuple, Self

from psycopg import AsyncConnection, sql

Connection = AsyncConnection[tuple[object, ...]]

TABLE, VIEW, FUNCTION = "table", "view", "function"
_BUILD_SUFFIX = re.compile(r"_b\d+$")
_TRIGGERS = """
SELECT tgname, tgrelid::regclass::text FROM pg_trigger WHERE NOT tgisinternal AND tgrelid = to_regclass(%s)
"""
_INDEXES = """
SELECT i.indexrelid::regclass::text FROM pg_index AS i WHERE i.indrelid = to_regclass(%s)
AND NOT EXISTS (SELECT FROM pg_constraint AS c WHERE c.conindid = i.indexrelid)
"""


class BuildObject(NamedTuple):
    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"

    @classmethod
    def parse(cls, text: str) -> Self:
        return cls(*text.split(" ", 1))

    @property
    def reader_name(self) -> str:
        """The name by which readers find it while its build is live."""
        return _BUILD_SUFFIX.sub("", self.name)


def recorded(tables: object, objects: object) -> list[BuildObject] | None:
    """The objects as recorded with a build; None if an earlier program has recorded nothing."""
    if isinstance(objects, list):
        return [BuildObject.parse(str(text)) for text in objects]
    return [BuildObject(TABLE, str(name)) for name in tables] if isinstance(tables, list) else None


async def hide(conn: Connection, shown: Sequence[BuildObject]) -> None:
    """Drops what readers see of these objects."""
    for item in shown:
        # First, since a function may return rows of a view.
        if item.kind == FUNCTION:
            await _drop_function(conn, item.reader_name)
    for item in reversed(shown):
        if item.kind != FUNCTION:
            await conn.execute(sql.SQL("DROP VIEW IF EXISTS {}").format(sql.Identifier(item.reader_name)))


async def drop(conn: Connection, objects: Sequence[BuildObject]) -> None:
    """Drops the objects in the reverse order of their creation."""
    if any(item.kind == FUNCTION for item in objects):
        for item in objects:
            if item.kind == TABLE:
                # They may use a function that was created later than the table.
                await drop_triggers(conn, item.name)
                await _drop_indexes(conn, item.name)
    for item in reversed(objects):
        if item.kind == FUNCTION:
            await _drop_function(conn, item.name)
        else:
            kind = sql.SQL("VIEW" if item.kind == VIEW else "TABLE")
            await conn.execute(sql.SQL("DROP {} IF EXISTS {}").format(kind, sql.Identifier(item.name)))


async def drop_triggers(conn: Connection, table: str) -> None:
    """Drops the triggers of a table that its projection has created."""
    for trigger, owner in await (await conn.execute(_TRIGGERS, (table,))).fetchall():
        await conn.execute(sql.SQL("DROP TRIGGER {} ON {}").format(sql.Identifier(str(trigger)), sql.SQL(str(owner))))


async def _drop_indexes(conn: Connection, table: str) -> None:
    for (index,) in await (await conn.execute(_INDEXES, (table,))).fetchall():
        await conn.execute(sql.SQL("DROP INDEX {}").format(sql.SQL(str(index))))


async def _drop_function(conn: Connection, name: str) -> None:
    """Drops a function here and among the connection's temporary objects, where functions are not looked for."""
    for schema in ("pg_temp.", ""):
        await conn.execute(sql.SQL("DROP FUNCTION IF EXISTS {}{}").format(sql.SQL(schema), sql.Identifier(name)))
