"""SQL statements that write merged rows: one per group, for any number of rows.

A statement does nothing if its transaction could not move the checkpoint (`builds.MOVE_CHECKPOINT`), so a whole batch
can be sent without waiting for that answer.
"""

from collections.abc import Sequence
from functools import lru_cache
from operator import itemgetter

from psycopg import sql

from projections.engine.apply.merging.merge_plans import By, Columns, Conditions, Rule
from projections.engine.apply.merging.row_merging import RowGroup
from projections.engine.changes import MergeRule, Operator, RowAction
from projections.engine.storage.builds import MOVED
from projections.engine.storage.pg_order import TEXTS
from projections.engine.storage.pg_text import array, column_to_pg_text, copy_lines

Statement = tuple[bytes, tuple[str, ...]]

_MERGED: dict[MergeRule, sql.SQL] = {
    MergeRule.SET: sql.SQL("{new}"),
    MergeRule.ADD: sql.SQL("COALESCE({old} + {new}, {new})"),
    MergeRule.GREATEST: sql.SQL("GREATEST({old}, {new})"),
    MergeRule.LEAST: sql.SQL("LEAST({old}, {new})"),
    MergeRule.FIRST: sql.SQL("COALESCE({old}, {new})"),
}
_AND = sql.SQL(" AND ")


def statement(group: RowGroup) -> Statement:
    """The statement that merges the rows into their table, with one array literal per column.

    Raises:
        UnsupportedValue: no column accepts a value's type.
    """
    shape = group.shape
    table = shape.table
    composed = _statement(
        table.physical, shape.key, tuple(table.types.items()), shape.action, shape.columns, shape.conditions
    )
    return composed, tuple([array(texts) for texts in _texts(group)])


def copy_statement(group: RowGroup) -> sql.Composed:
    """The COPY statement for new rows, at a fraction of the cost of merging them."""
    names = (*group.shape.key, *(column for column, _ in group.shape.columns))
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
    """The values as text by column: the key's columns, the shape's, and those of its conditions."""
    shape = group.shape
    written = [column for column, _ in (*shape.columns, *shape.conditions)]
    columns = [*_columns(group.keys, len(shape.key)), *_columns(group.values, len(written))]
    return [
        column_to_pg_text(column, shape.table.types[name])
        for name, column in zip((*shape.key, *written), columns, strict=True)
    ]


def _columns(rows: Sequence[Sequence[object]], number: int) -> list[list[object]]:
    return [list(map(itemgetter(index), rows)) for index in range(number)]


@lru_cache(maxsize=1_000)
def _statement(
    physical: str,
    key: tuple[str, ...],
    types: tuple[tuple[str, str], ...],
    action: RowAction,
    columns: Columns,
    conditions: Conditions,
) -> bytes:
    """The statement as bytes, cached so that it is not composed again for each batch."""
    return _composed(physical, key, dict(types), action, columns, conditions).as_bytes(None)


def _composed(
    physical: str,
    key: tuple[str, ...],
    kinds: dict[str, str],
    action: RowAction,
    written: Columns,
    conditions: Conditions,
) -> sql.Composed:
    columns = (*key, *(column for column, _ in written))
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    keys = sql.SQL(", ").join(map(sql.Identifier, key))
    compared = [(_where(column), kinds[column]) for column, _ in conditions]
    source = _source([*((column, kinds[column]) for column in columns), *compared])
    target = sql.Identifier(physical)
    same = _AND.join(sql.SQL("t.{0} = s.{0}").format(sql.Identifier(column)) for column in key)
    where = sql.Composed([same, *(_condition(column, operator, kinds[column]) for column, operator in conditions)])
    if action is RowAction.DELETE_ENDED:
        ((ends, _),) = written
        where += sql.SQL(" AND t.{0} <= s.{0}").format(sql.Identifier(ends))
    if action in (RowAction.DELETE, RowAction.DELETE_ALL, RowAction.DELETE_ENDED):
        return sql.SQL("DELETE FROM {} AS t USING {} AS s WHERE {}").format(target, source, where)
    if action is RowAction.UPDATE:
        return sql.SQL("UPDATE {} AS t SET {} FROM {} AS s WHERE {}").format(
            target, _assignments(written, sql.SQL("s."), kinds), source, where
        )
    # In key order, so that neighbours in its index are written together.
    insert = sql.SQL("INSERT INTO {} AS t ({names}) SELECT {names} FROM {} AS s ORDER BY {} ON CONFLICT ({}) DO ")
    if not written or not conditions:
        conflict = (
            sql.SQL("UPDATE SET {}").format(_assignments(written, sql.SQL("EXCLUDED."), kinds))
            if written
            else sql.SQL("NOTHING")
        )
        return insert.format(target, source, keys, keys, names=names) + conflict
    # A conflict's condition cannot name the source. The rows to update and those to insert are different ones.
    update = sql.SQL("WITH source AS {}, updated AS (UPDATE {} AS t SET {} FROM source AS s WHERE {}) ").format(
        source, target, _assignments(written, sql.SQL("s."), kinds), where
    )
    return update + insert.format(target, sql.SQL("source"), keys, keys, names=names) + sql.SQL("NOTHING")


def _source(columns: Sequence[tuple[str, str]]) -> sql.Composed:
    """The rows to write, from one array per column; none if the checkpoint was not moved."""
    return sql.SQL("(SELECT {} FROM unnest({}) AS u({}) WHERE current_setting({}, true) IS DISTINCT FROM '0')").format(
        sql.SQL(", ").join(_element(column, kind) for column, kind in columns),
        sql.SQL(", ").join(_parameter(kind) for _, kind in columns),
        sql.SQL(", ").join(sql.Identifier(column) for column, _ in columns),
        sql.Literal(MOVED),
    )


def _assignments(written: Columns, new: sql.SQL, kinds: dict[str, str]) -> sql.Composed:
    return sql.SQL(", ").join(
        sql.SQL("{} = {}").format(sql.Identifier(column), _merged(column, rule, new, kinds)) for column, rule in written
    )


def _merged(column: str, rule: Rule, new: sql.SQL, kinds: dict[str, str]) -> sql.Composed:
    old_value, new_value = _value("t.", column), sql.Composed([new, sql.Identifier(column)])
    if isinstance(rule, By):
        return sql.SQL("CASE WHEN COALESCE(({}) {} ({}), true) THEN {} ELSE {} END").format(
            sql.SQL(", ").join(
                _ordered(sql.Composed([new, sql.Identifier(name)]), kinds[name]) for name in rule.deciding
            ),
            sql.SQL(">=" if rule.rule is MergeRule.GREATEST else "<"),
            sql.SQL(", ").join(_ordered(_value("t.", name), kinds[name]) for name in rule.deciding),
            new_value,
            old_value,
        )
    if rule in (MergeRule.GREATEST, MergeRule.LEAST):
        old_value, new_value = _ordered(old_value, kinds[column]), _ordered(new_value, kinds[column])
    return _MERGED[rule].format(old=old_value, new=new_value)


def _where(column: str) -> str:
    """The name of a condition's value in the source, where the column itself may be written as well."""
    return f"where {column}"


def _condition(column: str, operator: Operator, kind: str) -> sql.Composed:
    return sql.SQL(" AND {} {} {}").format(
        _ordered(_value("t.", column), kind), sql.SQL(operator), _ordered(_value("s.", _where(column)), kind)
    )


def _value(of: str, column: str) -> sql.Composed:
    return sql.Composed([sql.SQL(of), sql.Identifier(column)])


def _ordered(value: sql.Composed, kind: str) -> sql.Composed:
    """The value as it is compared: texts by their code points, whatever the column's collation."""
    return value + sql.SQL(' COLLATE "C"') if kind in TEXTS else value


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
