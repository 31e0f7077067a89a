"""One table that is looked up: loads rows, and evaluates changes of rows as the database would."""

import asyncio
from collections.abc import Collection, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import msgspec
from psycopg import sql
from psycopg.types.string import TextLoader

from projections.engine.apply.merging.call_plans import Key
from projections.engine.apply.sequential.keys import key_of, select_by_keys
from projections.engine.apply.sequential.loaded_values import KEY_TYPES, as_loaded, is_immutable, is_known
from projections.engine.changes import Change, MergeRule, RowAction, Values
from projections.engine.lookups import Lookup
from projections.engine.storage.builds import Connection
from projections.engine.storage.pg_order import exact_sum
from projections.engine.storage.pg_text import MOMENTS, UnsupportedValue, array, to_pg_text
from projections.engine.storage.tables import BadTables, Table

# A looked-up row: the columns that lookups name, and those of the key.
LookedUpRow = dict[str, object]

_FETCHED_TOGETHER = 250
# Beside the defaults: whether a column is generated, and whether it rounds or pads its values.
_DEFAULTS = """
SELECT a.attname, pg_get_expr(d.adbin, d.adrelid), a.attgenerated <> '',
    a.atttypmod <> -1 AND a.atttypid <> 'varchar'::regtype
FROM pg_attribute AS a LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attrelid = to_regclass(%s) AND a.attnum > 0 AND NOT a.attisdropped
"""
_PLAIN = frozenset({"bigint", "character varying", "integer", "smallint", "text", "uuid"})
_FROM_KEY = {"date": date.fromisoformat, MOMENTS: datetime.fromisoformat}
_RULES = _SET, _ADD, _GREATEST, _LEAST, _FIRST = tuple(MergeRule)


class LookupTable:
    """A table that is looked up."""

    def __init__(
        self, projection: str, table: Table, lookups: Collection[Lookup], folded: type[msgspec.Struct] | None = None
    ) -> None:
        """
        `folded`: the type of the rows that events are folded into; None: handlers write the table.

        Raises:
            BadTables: a row type does not fit the table, its rows end, or a column's type cannot be looked up.
        """
        if table.ends is not None:
            raise BadTables(f"projection {projection}: the rows of {table.name} end, so they cannot be looked up")
        for lookup in lookups:
            for column in lookup.row.__struct_fields__:
                if column not in table.types:
                    raise BadTables(
                        f"projection {projection}: {lookup.row.__name__}.{column} is looked up in {table.name}, but not"
                        " one of its columns"
                    )
                if folded is not None and column not in (*table.key, *folded.__struct_fields__):
                    raise BadTables(
                        f"projection {projection}: {lookup.row.__name__}.{column} is looked up in {table.name}, but not"
                        f" a field of the {folded.__name__} that events are folded into"
                    )
        self.projection = projection
        self.table = table
        named = {column for lookup in lookups for column in lookup.row.__struct_fields__}
        self.columns = (*table.key, *sorted(named.difference(table.key)))
        for column in self.columns:
            kind = table.types[column]
            if not is_known(kind) or (column in table.key and kind not in KEY_TYPES):
                raise BadTables(
                    f"projection {projection}: {table.name}.{column} is of type {kind}, which cannot be looked up"
                    + (" as a key" if is_known(kind) else "")
                )
        self._has_moments = any("timestamp" in table.types[column] for column in self.columns)
        # Whether keys are loaded in the form in which equal keys are equal.
        self._has_plain_key = _PLAIN.issuperset(table.types[column] for column in table.key)
        # The types of rows that a handler cannot change.
        self.immutable = {
            lookup.row
            for lookup in lookups
            if lookup.row.__struct_config__.frozen
            and all(is_immutable(table.types[column]) for column in lookup.row.__struct_fields__)
        }
        # The values of new rows in columns that a change does not name; None: not read yet.
        self.defaults: LookedUpRow | None = None

    def prefix(self, lookup: Lookup, values: Values) -> Key:
        """The key, or its first columns.

        Raises:
            UnsupportedValue: they are not those of the table.
        """
        columns = self.table.key if not lookup.is_many else self.table.key[: len(values)]
        if not columns:
            raise UnsupportedValue(f"{self.table.name}: rows are looked up by the first columns of the key")
        return self._key(columns, values)

    def beginning(self, values: Values) -> Key:
        """The first columns of a key, as many as there are values.

        Raises:
            UnsupportedValue: they are not those of the table.
        """
        return self._key(self.table.key[: len(values)], values)

    async def load(self, conn: Connection, prefixes: Sequence[Key]) -> list[dict[Key, LookedUpRow]]:
        """The rows under each of the prefixes, which are of one length, by key."""
        columns = self.table.key[: len(prefixes[0])]
        query = select_by_keys(self.table, columns, self.columns)
        texts = [array([to_pg_text(prefix[index]) for prefix in prefixes]) for index in range(len(columns))]
        rows: list[dict[Key, LookedUpRow]] = [{} for _ in prefixes]
        async with conn.cursor() as cursor:
            cursor.adapters.register_loader("uuid", TextLoader)
            await cursor.execute(query, texts)
            while fetched := await cursor.fetchmany(_FETCHED_TOGETHER):
                for number, *values in fetched:
                    assert isinstance(number, int)
                    if self._has_moments:
                        values = list(map(_in_utc, values))
                    row = dict(zip(self.columns, values, strict=True))
                    rows[number - 1][self._key_of_loaded(row)] = row
                await asyncio.sleep(0)
        return rows

    async def read_defaults(self, conn: Connection) -> None:
        """Reads the defaults of the columns.

        Raises:
            BadTables: a column that is looked up is generated, or rounds or pads its values.
        """
        if self.defaults is not None:
            return
        cursor = await conn.execute(_DEFAULTS, (self.table.physical,))
        expressions: dict[str, str] = {}
        for column, expression, is_generated, is_rounded in await cursor.fetchall():
            if column in self.columns and (is_generated or is_rounded):
                reason = "is generated" if is_generated else "rounds or pads its values"
                raise BadTables(
                    f"projection {self.projection}: {self.table.name}.{column} {reason}, and cannot be looked up"
                )
            if expression is not None:
                expressions[str(column)] = f"({expression})::{self.table.types[str(column)]}"
        defaults: LookedUpRow = dict.fromkeys(self.columns)
        named = [column for column in self.columns if column in expressions]
        if named:
            query = sql.SQL("SELECT {}").format(sql.SQL(", ").join(sql.SQL(expressions[name]) for name in named))
            async with conn.cursor() as reading:
                reading.adapters.register_loader("uuid", TextLoader)
                row = await (await reading.execute(query)).fetchone()
            assert row is not None
            defaults |= dict(zip(named, map(_in_utc, row), strict=True))
        self.defaults = defaults

    def key(self, values: Values) -> tuple[Key, LookedUpRow]:
        """The whole key, and its columns as they would be loaded.

        Raises:
            UnsupportedValue: it is not one of the table.
        """
        columns = self._loaded(values)
        return self._key_of_columns(self.table.key, columns), columns

    def changed(self, row: LookedUpRow | None, key: LookedUpRow, change: Change) -> LookedUpRow | None:
        """The row after the change; None: it does not exist. `key`: the columns of its key, as loaded.

        Raises:
            UnsupportedValue: the change depends on the row in a way that is evaluated in the database only, or a value
                is not of its column's type.
        """
        action, name, _, *effects, rarer = change
        if rarer is not None:
            raise UnsupportedValue(f"{name} is looked up: its changes have no conditions, `greatest_by` or `least_by`")
        if action in (RowAction.DELETE, RowAction.DELETE_ALL) or (row is None and action is RowAction.UPDATE):
            return None
        assert self.defaults is not None
        is_new = row is None
        after = {**self.defaults, **key} if row is None else dict(row)
        for rule, values in zip(_RULES, effects, strict=True):
            for column, value in (values or {}).items():
                if column in after:
                    is_moved = rule is _ADD and isinstance(value, timedelta)
                    stored = value if is_moved else as_loaded(value, self.table.types[column])
                    after[column] = stored if is_new else _merged(rule, after[column], stored)
        return after

    def folded(self, key: Key, row: msgspec.Struct) -> LookedUpRow:
        """The looked-up columns of a row that events are folded into."""
        values: LookedUpRow = {}
        for column, part in zip(self.table.key, key, strict=True):
            read = _FROM_KEY.get(self.table.types[column])
            values[column] = part if read is None else read(str(part))
        for column in self.columns[len(key) :]:
            values[column] = as_loaded(getattr(row, column), self.table.types[column])
        return values

    def _key(self, columns: Sequence[str], values: Values) -> Key:
        return self._key_of_columns(columns, self._loaded(values))

    def _key_of_loaded(self, row: LookedUpRow) -> Key:
        key = self.table.key
        if self._has_plain_key:
            return tuple([row[name] for name in key])
        return key_of(self.table, key, {name: row[name] for name in key})

    def _key_of_columns(self, columns: Sequence[str], loaded: LookedUpRow) -> Key:
        if self._has_plain_key and len(loaded) == len(columns):
            key = tuple([loaded.get(column) for column in columns])
            if None not in key:
                return key
        return key_of(self.table, columns, loaded)

    def _loaded(self, values: Values) -> LookedUpRow:
        """The values as they would be loaded; those of unknown columns as they are."""
        types = self.table.types
        return {
            column: as_loaded(value, types[column]) if column in types else value for column, value in values.items()
        }


def _merged(rule: MergeRule, old: object, new: object) -> object:
    """Merges a value into a column, as PostgreSQL does."""
    if rule is _SET or old is None:
        return new
    if new is None or rule is _FIRST:
        return old
    if rule is _ADD and isinstance(old, Decimal):
        return exact_sum(old, new)  # type: ignore[arg-type]  # the column is numeric
    if rule is _ADD:
        return old + new  # type: ignore[operator]  # numbers or intervals: the change was checked
    return max(old, new) if rule is _GREATEST else min(old, new)  # type: ignore[call-overload]  # as above


def _in_utc(value: object) -> object:
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) and value.tzinfo is not None else value
