"""The rows of one folded table: loaded with one statement for all keys of a batch, written back as row groups."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

import msgspec
from psycopg import sql
from psycopg.types.string import TextLoader

from projections.engine.apply.change_plans import Key
from projections.engine.apply.loop_slices import in_slices
from projections.engine.apply.merge_plans import ChangePlan
from projections.engine.apply.row_merging import RowGroup
from projections.engine.changes import MergeRule, RowAction, Values
from projections.engine.folds import Row
from projections.engine.storage.builds import Connection
from projections.engine.storage.pg_text import MOMENTS, UnsupportedValue, array, to_pg_text
from projections.engine.storage.tables import BadTables, Table

_WHOLE_NUMBERS = {"smallint", "integer", "bigint"}
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
        self.table = table
        self._row = row
        self._names = row.__struct_encode_fields__
        self._key = tuple([(column, table.types[column] in _WHOLE_NUMBERS) for column in table.key])
        self._moments = [index for index, column in enumerate(columns) if table.types[column] == MOMENTS]
        written = tuple([(column, MergeRule.SET) for column in columns])
        self._insert = ChangePlan(table, RowAction.INSERT, written, table.key, ())
        self._upsert = ChangePlan(table, RowAction.UPSERT, written, table.key, ())
        self._delete = ChangePlan(table, RowAction.DELETE, (), table.key, ())
        self._select = _select(table, columns)

    def key(self, values: Values) -> Key:
        """The key in the table's order, in the form in which equal keys are equal.

        Raises:
            UnsupportedValue: the values are not a key of the table.
        """
        try:
            key = tuple([_key_value(column, values[column], is_whole) for column, is_whole in self._key])
        except KeyError as error:
            raise UnsupportedValue(f"{self.table.name}: the key lacks {error}") from error
        if len(values) != len(key):
            raise UnsupportedValue(f"{self.table.name}: the key is {', '.join(self.table.key)}")
        return key

    async def load(self, conn: Connection, keys: Sequence[Key]) -> dict[Key, Stored]:
        """The columns of the rows that exist, by key.

        Raises:
            psycopg.DataError, UnsupportedValue: one of the keys cannot be one of the table.
        """
        texts = [array([to_pg_text(key[index]) for key in keys]) for index in range(len(self._key))]
        rows: dict[Key, Stored] = {}
        async with conn.cursor() as cursor:
            cursor.adapters.register_loader("uuid", TextLoader)
            await cursor.execute(self._select, texts)
            while found := await cursor.fetchmany(_FETCHED_TOGETHER):
                for number, *stored in found:
                    for index in self._moments:
                        if isinstance(moment := stored[index], datetime):
                            stored[index] = moment.replace(tzinfo=UTC)
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


def _select(table: Table, columns: Sequence[str]) -> bytes:
    """Selects each key's number, from 1, and the columns of its row. The keys are texts, one array a column."""
    keys = [sql.Identifier(f"key{index}") for index in range(len(table.key))]
    return (
        sql.SQL("SELECT u.number, {} FROM unnest({}) WITH ORDINALITY AS u({}, number) JOIN {} AS t ON {}")
        .format(
            sql.SQL(", ").join(sql.SQL("t.{}").format(sql.Identifier(column)) for column in columns),
            sql.SQL(", ").join([sql.SQL("%s::text[]")] * len(keys)),
            sql.SQL(", ").join(keys),
            sql.Identifier(table.physical),
            sql.SQL(" AND ").join(
                sql.SQL("t.{} = u.{}::{}").format(sql.Identifier(column), key, sql.SQL(table.types[column]))
                for column, key in zip(table.key, keys, strict=True)
            ),
        )
        .as_bytes(None)
    )


def _key_value(column: str, value: object, is_whole: bool) -> object:
    if type(value) is (int if is_whole else str):
        return value
    text = to_pg_text(value)
    if text is None:
        raise UnsupportedValue(f"{column} is null in a key")
    if not is_whole:
        return text
    try:
        return int(text)
    except ValueError as error:
        raise UnsupportedValue(f"{column}: {value!r} is not an integer") from error
