"""Compares two tables of the same shape row by row, in bounded memory, and reports the differences.

Both are read in the order of their keys' text (byte order, as Python orders strings), with all values as exact text, a
few thousand rows at a time.
"""

from collections.abc import AsyncIterator, Callable
from datetime import datetime
from enum import StrEnum

import msgspec
from psycopg import sql

from projections.engine.storage.builds import Connection
from projections.engine.storage.tables import Table

Texts = tuple[str | None, ...]
_ROWS_AT_ONCE = 2_000
NAMED_AT_MOST = 20


class Kind(StrEnum):
    CHANGED = "changed"
    # In the streams but not in the live table.
    MISSING = "missing"
    # In the live table but not in the streams.
    EXTRA = "extra"


class Difference(msgspec.Struct, frozen=True):
    """One row that differs."""

    table: str
    kind: Kind
    key: dict[str, str | None]
    # The live and the rebuilt value by column, for the columns that differ.
    columns: dict[str, tuple[str | None, str | None]]


class Comparison(msgspec.Struct):
    """The result of a comparison: all differences are counted, the first few are kept."""

    rows: int = 0
    changed: int = 0
    missing: int = 0
    extra: int = 0
    differences: list[Difference] = []
    # Called for every difference, including those that are not kept.
    on_difference: Callable[[Difference], None] | None = None

    @property
    def count(self) -> int:
        return self.changed + self.missing + self.extra

    def add(self, difference: Difference) -> None:
        if difference.kind is Kind.CHANGED:
            self.changed += 1
        elif difference.kind is Kind.MISSING:
            self.missing += 1
        else:
            self.extra += 1
        if self.on_difference is not None:
            self.on_difference(difference)
        if len(self.differences) < NAMED_AT_MOST:
            self.differences.append(difference)


async def compare(
    live_conn: Connection,
    live: Table,
    rebuilt_conn: Connection,
    rebuilt: Table,
    comparison: Comparison,
    moment: datetime | None = None,
) -> None:
    """Adds the differences of the two tables to `comparison`. Each connection must be in a transaction.

    `moment`: rows that have ended by then are left out on both sides, since they are removed at any time after.
    """
    live_rows, rebuilt_rows = _rows(live_conn, live, moment), _rows(rebuilt_conn, rebuilt, moment)
    columns = _columns(live)
    keys = len(live.key)
    one, other = await anext(live_rows, None), await anext(rebuilt_rows, None)
    while one is not None or other is not None:
        comparison.rows += 1
        # A row that one side lacks sorts before the other side's present row.
        if other is None or (one is not None and _order(one, keys) < _order(other, keys)):
            assert one is not None
            comparison.add(_lone(live, Kind.EXTRA, one))
            one = await anext(live_rows, None)
        elif one is None or _order(other, keys) < _order(one, keys):
            comparison.add(_lone(live, Kind.MISSING, other))
            other = await anext(rebuilt_rows, None)
        else:
            if one != other:
                differing = {
                    column: (before, after)
                    for column, before, after in zip(columns, one, other, strict=True)
                    if before != after
                }
                comparison.add(Difference(live.name, Kind.CHANGED, _key(live, one), differing))
            one, other = await anext(live_rows, None), await anext(rebuilt_rows, None)


def _columns(table: Table) -> tuple[str, ...]:
    return (*table.key, *(column for column in table.types if column not in table.key))


async def _rows(conn: Connection, table: Table, moment: datetime | None) -> AsyncIterator[Texts]:
    as_text = [sql.SQL("{}::text").format(sql.Identifier(column)) for column in _columns(table)]
    lasting: sql.Composable = sql.SQL("")
    if table.ends is not None and moment is not None:
        lasting = sql.SQL("WHERE ({ends} > {moment}) IS NOT FALSE").format(
            ends=sql.Identifier(table.ends), moment=sql.Literal(moment)
        )
    query = sql.SQL("SELECT {} FROM {} {} ORDER BY {}").format(
        sql.SQL(", ").join(as_text),
        sql.Identifier(table.physical),
        lasting,
        sql.SQL(", ").join(sql.SQL('{}::text COLLATE "C"').format(sql.Identifier(column)) for column in table.key),
    )
    async with conn.cursor(name=f"compare_{table.name}") as cursor:
        cursor.itersize = _ROWS_AT_ONCE
        await cursor.execute(query)
        async for row in cursor:
            yield tuple(None if value is None else str(value) for value in row)


def _order(row: Texts, keys: int) -> tuple[str, ...]:
    return tuple(value or "" for value in row[:keys])


def _key(table: Table, row: Texts) -> dict[str, str | None]:
    return dict(zip(table.key, row, strict=False))


def _lone(table: Table, kind: Kind, row: Texts) -> Difference:
    values = zip(_columns(table)[len(table.key) :], row[len(table.key) :], strict=True)
    pairs: dict[str, tuple[str | None, str | None]] = {
        column: (value, None) if kind is Kind.EXTRA else (None, value) for column, value in values
    }
    return Difference(table.name, kind, _key(table, row), pairs)
