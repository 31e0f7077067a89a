"""Writes folded rows: one statement a group, whatever the number of its rows.

A statement does nothing where the transaction's checkpoint could not be moved (`builds.MOVE_CHECKPOINT`), so that a
whole batch can be sent without waiting for that answer.
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
    """The statement that merges the rows into their table, with a literal a column.

    Raises:
        UnsupportedValue: a value is of a kind that no column takes.
    """
    shape = group.shape
    table = shape.table
    composed = _statement(table.physical, table.key, tuple(table.types.items()), shape.action, shape.columns)
    return composed, tuple([array(texts) for texts in _texts(group)])


def copy_statement(group: RowGroup) -> sql.Composed:
    """Inserts rows of which the table has none: a fraction of the price of merging them."""
    names = (*group.shape.table.key, *(column for column, _ in group.shape.columns))
    return sql.SQL("COPY {} ({}) FROM STDIN").format(
        sql.Identifier(group.shape.table.physical), sql.SQL(", ").join(map(sql.Identifier, names))
    )


def copy_data(group: RowGroup) -> bytes:
    """The rows for `copy_statement`, in about the order of the key, so that neighbours in its index come together.

    Raises:
        UnsupportedValue: as `statement`.
    """
    found = copy_lines(_texts(group))
    found.sort()
    found.append("")
    return "\n".join(found).encode()


def _texts(group: RowGroup) -> list[Sequence[str | None]]:
    """The key's columns, then the shape's."""
    table = group.shape.table
    names = (*table.key, *(column for column, _ in group.shape.columns))
    columns = [*_columns(group.keys, len(table.key)), *_columns(group.values, len(group.shape.columns))]
    return [column_to_pg_text(column, table.types[name]) for name, column in zip(names, columns, strict=True)]


def _columns(rows: Sequence[Sequence[object]], number: int) -> list[list[object]]:
    return [list(map(itemgetter(place), rows)) for place in range(number)]


@lru_cache(maxsize=1_000)
def _statement(
    physical: str, key: tuple[str, ...], types: tuple[tuple[str, str], ...], action: RowAction, columns: Columns
) -> bytes:
    """In bytes, so that a composed statement is not put together anew with each batch."""
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
    # In the order of the key, so that neighbours in its index come together.
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
    """Unnest takes arrays of arrays apart: an array column travels as text."""
    return sql.SQL("%s::{}[]").format(sql.SQL("text") if kind.endswith("[]") else _type(kind))


def _element(column: str, kind: str) -> sql.Composed:
    if kind.endswith("[]"):
        return sql.SQL("{}::{}").format(sql.Identifier(column), _type(kind))
    return sql.Composed([sql.Identifier(column)])


def _type(kind: str) -> sql.SQL:
    """A type's name as the catalog itself formats it."""
    return sql.SQL(kind)
