"""The rows of one folded table: loaded with one statement for all keys of a batch, written back as row groups."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal

import msgspec
from psycopg.types.string import TextLoader

from projections.engine.apply.loop_slices import in_slices
from projections.engine.apply.merging.call_plans import Key
from projections.engine.apply.merging.merge_plans import ChangePlan
from projections.engine.apply.merging.row_merging import RowGroup
from projections.engine.apply.sequential.keys import key_of, select_by_keys
from projections.engine.changes import MergeRule, RowAction, Values
from projections.engine.folds import Row
from projections.engine.storage.builds import Connection
from projections.engine.storage.pg_text import MOMENTS, array, to_pg_text
from projections.engine.storage.tables import BadTables, Table

# Rows that are decoded in one step.
_FETCHED_TOGETHER = 250

Stored = tuple[object, ...]


class FoldRows:
    def __init__(self, projection: str, table: Table, row: type[Row]) -> None:
        """
        Raises:
            BadTables: the struct's fields are not columns of the table beside its key.
        """
        columns = row.__struct_fields__
        for column in columns:
            if column not in table.types or column in table.key:
                why = (
                    "a part of its key, which a row does not repeat"
                    if column in table.key
                    else "not one of its columns"
                )
                raise BadTables(
                    f"projection {projection}: {row.__name__}.{column} is folded into {table.name}, but {why}"
                )
            if table.types[column].startswith("timestamp without"):
                raise BadTables(
                    f"projection {projection}: {row.__name__}.{column} is folded into {table.name} as a timestamp"
                    " without a time zone, which no event has; use timestamptz"
                )
        self.table = table
        self._row = row
        self._columns = columns
        self._numbers = [index for index, column in enumerate(columns) if table.types[column] == "numeric"]
        self._names = row.__struct_encode_fields__
        self._moments = [index for index, column in enumerate(columns) if table.types[column] == MOMENTS]
        written = tuple([(column, MergeRule.SET) for column in columns])
        self._insert = ChangePlan(table, RowAction.INSERT, written, table.key, ())
        self._upsert = ChangePlan(table, RowAction.UPSERT, written, table.key, ())
        self._delete = ChangePlan(table, RowAction.DELETE, (), table.key, ())

    def key(self, values: Values) -> Key:
        """The key in the table's order, in the form in which equal keys are equal.

        Raises:
            UnsupportedValue: the values are not a key of the table.
        """
        return key_of(self.table, self.table.key, values)

    async def load(self, conn: Connection, keys: Sequence[Key]) -> dict[Key, Stored]:
        """The columns of the rows that exist, by key.

        Raises:
            psycopg.DataError, UnsupportedValue: one of the keys cannot be one of the table.
        """
        query = select_by_keys(self.table, self.table.key, self._columns)
        texts = [array([to_pg_text(key[index]) for key in keys]) for index in range(len(self.table.key))]
        rows: dict[Key, Stored] = {}
        async with conn.cursor() as cursor:
            cursor.adapters.register_loader("uuid", TextLoader)
            await cursor.execute(query, texts)
            while fetched := await cursor.fetchmany(_FETCHED_TOGETHER):
                for number, *stored in fetched:
                    for index in self._moments:
                        if isinstance(moment := stored[index], datetime):
                            stored[index] = moment.replace(tzinfo=UTC)
                    for index in self._numbers:
                        stored[index] = _whole(stored[index])
                    assert isinstance(number, int)
                    rows[keys[number - 1]] = tuple(stored)
                await asyncio.sleep(0)
        return rows

    def row(self, stored: Stored) -> Row:
        """The row as its struct, which shares nothing with `stored` but immutable values.

        Raises:
            msgspec.ValidationError: the columns do not fit the struct.
        """
        return msgspec.convert(dict(zip(self._names, stored, strict=True)), self._row, str_keys=True)

    async def groups(self, rows: Mapping[Key, Row | None], existing: Iterable[Key]) -> list[RowGroup]:
        """The row groups that write the rows; a row that is None is deleted if it exists."""
        new, changed, gone = (
            RowGroup(self._insert, [], []),
            RowGroup(self._upsert, [], []),
            RowGroup(self._delete, [], []),
        )
        known = set(existing)
        async for part in in_slices(rows.items()):
            for key, row in part:
                if row is None:
                    if key in known:
                        gone.keys.append(key)
                        gone.values.append(())
                    continue
                group = changed if key in known else new
                group.keys.append(key)
                group.values.append(msgspec.structs.astuple(row))
        return [group for group in (gone, changed, new) if group.keys]


def _whole(value: object) -> object:
    """A number without decimal places as an integer, which a field of either type accepts, of any size."""
    return int(value) if isinstance(value, Decimal) and value.as_tuple().exponent == 0 else value
