"""Writes folded rows: one statement a table and shape of change, whatever the number of rows."""

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache

from psycopg import sql

from projections.engine.literals import array, json_of, text_of
from projections.engine.rows import Row, Rows, Table, in_order
from projections.engine.write import Action, How

Shape = tuple[tuple[str, How], ...]
Statement = tuple[bytes, tuple[str, ...]]

_MERGED: dict[How, sql.SQL] = {
    How.SET: sql.SQL("{new}"),
    How.ADD: sql.SQL("COALESCE(t.{column} + {new}, {new})"),
    How.GREATEST: sql.SQL("GREATEST(t.{column}, {new})"),
    How.LEAST: sql.SQL("LEAST(t.{column}, {new})"),
    How.FIRST: sql.SQL("COALESCE(t.{column}, {new})"),
}


def statements(tables: dict[str, Table], rows: Rows) -> Iterator[Statement]:
    """The statements that write the rows, in the order in which they have to run.

    Raises:
        Unwritable: a value is of a kind that no column takes.
    """
    for wave in rows.waves:
        groups: dict[tuple[str, Action, Shape], list[Row]] = {}
        for (changed, _), row in wave.items():
            groups.setdefault((changed, row.action, in_order(row.columns)), []).append(row)
        for (name, action, shape), members in groups.items():
            table = tables[name]
            yield (
                _statement(table.physical, table.key, tuple(table.types.items()), action, shape),
                _arrays(table, shape, members),
            )


def _arrays(table: Table, shape: Shape, rows: Sequence[Row]) -> tuple[str, ...]:
    """A literal a column: the key's columns, then the shape's."""
    found = [array(row.key[place] for row in rows) for place in range(len(table.key))]
    for column, _ in shape:
        as_text: Callable[[object], str | None] = json_of if table.types[column] in ("json", "jsonb") else text_of
        found.append(array([as_text(row.columns[column][1]) for row in rows]))
    return tuple(found)


@lru_cache(maxsize=1_000)
def _statement(
    physical: str, key: tuple[str, ...], types: tuple[tuple[str, str], ...], action: Action, shape: Shape
) -> bytes:
    """In bytes, so that a composed statement is not put together anew with each batch."""
    return _composed(physical, key, dict(types), action, shape).as_bytes(None)


def _composed(physical: str, key: tuple[str, ...], kinds: dict[str, str], action: Action, shape: Shape) -> sql.Composed:
    columns = (*key, *(column for column, _ in shape))
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    source = sql.SQL("(SELECT {} FROM unnest({}) AS u({}))").format(
        sql.SQL(", ").join(_element(column, kinds[column]) for column in columns),
        sql.SQL(", ").join(_parameter(kinds[column]) for column in columns),
        names,
    )
    target = sql.Identifier(physical)
    same = sql.SQL(" AND ").join(sql.SQL("t.{0} = s.{0}").format(sql.Identifier(column)) for column in key)
    if action is Action.DELETE:
        return sql.SQL("DELETE FROM {} AS t USING {} AS s WHERE {}").format(target, source, same)
    if action is Action.UPDATE:
        return sql.SQL("UPDATE {} AS t SET {} FROM {} AS s WHERE {}").format(
            target, _assignments(shape, sql.SQL("s.")), source, same
        )
    conflict = (
        sql.SQL("UPDATE SET {}").format(_assignments(shape, sql.SQL("EXCLUDED."))) if shape else sql.SQL("NOTHING")
    )
    return sql.SQL("INSERT INTO {} AS t ({}) SELECT * FROM {} AS s ON CONFLICT ({}) DO {}").format(
        target, names, source, sql.SQL(", ").join(map(sql.Identifier, key)), conflict
    )


def _assignments(shape: Shape, new: sql.SQL) -> sql.Composed:
    return sql.SQL(", ").join(
        sql.SQL("{} = {}").format(
            sql.Identifier(column),
            _MERGED[how].format(column=sql.Identifier(column), new=sql.Composed([new, sql.Identifier(column)])),
        )
        for column, how in shape
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
