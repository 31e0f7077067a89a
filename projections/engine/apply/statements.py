"""SQL statements that write merged rows: one per group, for any number of rows.

A statement does nothing if its transaction could not move the checkpoint (`builds.MOVE_CHECKPOINT`), so a whole batch
can be sent without waiting for that answer.
"""

from collections.abc import Sequence
from functools import lru_cache
from operator import itemgetter

from psycopg import sql

from projections.engine.apply.change_plans import Columns
from projections.engine.apply.row_merging import RowGroup
from projections.engine.changes import MergeRule, RowAction
from projections.engine.storage.builds import MOVED
from projections.engine.storage.pg_text import array, column_to_pg_text, copy_lines

Statement = tuple[bytes, tuple[str, ...]]

_MERGED: dict[MergeRule, sql.SQL] = {
    MergeRule.SET: sql.SQL("{new}"),
    MergeRule.ADD: sql.SQL("COALESCE(t.{column} + {new}, {new})"),
    MergeRule.GREATEST: sql.SQL("GREATEST(t.{column}, {new})"),
    MergeRule.LEAST: sql.SQL("LEAST(t.{column}, {new})"),
    MergeRule.FIRST: sql.SQL("COALESCE(t.{column}, {new})"),
}


def statement(group: RowGroup) -> Statement:
    """The statement that merges the rows into their table, with one array literal per column.

    Raises:
        UnsupportedValue: no column accepts a value's type.
    """
    shape = group.shape
    table = shape.table
    composed = _statement(table.physical, table.key, tuple(table.types.items()), shape.action, shape.columns)
    return composed, tuple([array(texts) for texts in _texts(group)])


def copy_statement(group: RowGroup) -> sql.Composed:
    """The COPY statement for new rows, at a fraction of the cost of merging them."""
    names = (*group.shape.table.key, *(column for column, _ in group.shape.columns))
    return sql.SQL("COPY {} ({}) FROM STDIN").format(
        sql.Identifier(group.shape.table.physical), sql.SQL(", ").join(map(sql.Identifier, names))
    )


def lines_to_copy(group: RowGroup) -> list[str]:
    """The rows as lines for `copy_statement`, without line ends.

    Raises:
        UnsupportedValue: as `statement`.
    """
    return copy_lines(_texts(group))


def _texts(group: RowGroup) -> list[Sequence[str | None]]:
    """The values as text by column: the key's columns, then the shape's."""
    table = group.shape.table
    names = (*table.key, *(column for column, _ in group.shape.columns))
    columns = [*_columns(group.keys, len(table.key)), *_columns(group.values, len(group.shape.columns))]
    return [column_to_pg_text(column, table.types[name]) for name, column in zip(names, columns, strict=True)]


def _columns(rows: Sequence[Sequence[object]], number: int) -> list[list[object]]:
    return [list(map(itemgetter(index), rows)) for index in range(number)]


@lru_cache(maxsize=1_000)
def _statement(
    physical: str, key: tuple[str, ...], types: tuple[tuple[str, str], ...], action: RowAction, columns: Columns
) -> bytes:
    """The statement as bytes, cached so that it is not composed again for each batch."""
    return _composed(physical, key, dict(types), action, columns).as_bytes(None)


def _composed(
    physical: str, key: tuple[str, ...], kinds: dict[str, str], action: RowAction, written: Columns
) -> sql.Composed:
    columns = (*key, *(column for column, _ in written))
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    keys = sql.SQL(", ").join(map(sql.Identifier, key))
    source = sql.SQL(
        "(SELECT {} FROM unnest({}) AS u({}) WHERE current_setting({}, true) IS DISTINCT FROM '0')"
    ).format(
        sql.SQL(", ").join(_element(column, kinds[column]) for column in columns),
        sql.SQL(", ").join(_parameter(kinds[column]) for column in columns),
        names,
        sql.Literal(MOVED),
    )
    target = sql.Identifier(physical)
    same = sql.SQL(" AND ").join(sql.SQL("t.{0} = s.{0}").format(sql.Identifier(column)) for column in key)
    if action is RowAction.DELETE:
        return sql.SQL("DELETE FROM {} AS t USING {} AS s WHERE {}").format(target, source, same)
    if action is RowAction.UPDATE:
        return sql.SQL("UPDATE {} AS t SET {} FROM {} AS s WHERE {}").format(
            target, _assignments(written, sql.SQL("s.")), source, same
        )
    conflict = (
        sql.SQL("UPDATE SET {}").format(_assignments(written, sql.SQL("EXCLUDED."))) if written else sql.SQL("NOTHING")
    )
    # In key order, so that neighbours in its index are written together.
    return sql.SQL("INSERT INTO {} AS t ({}) SELECT * FROM {} AS s ORDER BY {} ON CONFLICT ({}) DO {}").format(
        target, names, source, keys, keys, conflict
    )


def _assignments(written: Columns, new: sql.SQL) -> sql.Composed:
    return sql.SQL(", ").join(
        sql.SQL("{} = {}").format(
            sql.Identifier(column),
            _MERGED[how].format(column=sql.Identifier(column), new=sql.Composed([new, sql.Identifier(column)])),
        )
        for column, how in written
    )


def _parameter(kind: str) -> sql.Composed:
    """The parameter of a column; an array column is sent as text, since unnest flattens nested arrays."""
    return sql.SQL("%s::{}[]").format(sql.SQL("text") if kind.endswith("[]") else _type(kind))


def _element(column: str, kind: str) -> sql.Composed:
    if kind.endswith("[]"):
        return sql.SQL("{}::{}").format(sql.Identifier(column), _type(kind))
    return sql.Composed([sql.Identifier(column)])


def _type(kind: str) -> sql.SQL:
    """A type's name as formatted by the catalog."""
    return sql.SQL(kind)
