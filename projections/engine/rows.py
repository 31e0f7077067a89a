"""Folds what a batch of events does to rows into one change a row, in waves whose order matters.

Within a wave every row occurs once, so that its changes can be written table by table, in any order and set-based.
What cannot be folded into the change before it (an insert after a delete, a sum after a maximum) goes into the next
wave; hence the order kept for each key is the order of the events.
"""

from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal
from operator import itemgetter
from typing import NamedTuple

from projections.engine.literals import Unwritable, text_of
from projections.engine.write import Action, Change, Columns, How

Key = tuple[str, tuple[str, ...]]


class Table(NamedTuple):
    """A table as the catalog has it."""

    # The name inside the braces, and that of this build.
    name: str
    physical: str
    # The primary key's columns, in its order.
    key: tuple[str, ...]
    # Column to type, the key's among them.
    types: dict[str, str]


class Row:
    """What becomes of one row."""

    __slots__ = ("action", "columns", "key")

    def __init__(self, action: Action, key: tuple[str, ...], columns: Columns) -> None:
        self.action = action
        self.key = key
        self.columns = columns


class Rows:
    """The changes of a batch."""

    def __init__(self, tables: dict[str, Table]) -> None:
        self._tables = tables
        self._latest: dict[Key, tuple[int, Row]] = {}
        self.waves: list[dict[Key, Row]] = []

    def merge(self, changes: Sequence[Change]) -> None:
        """Adds one event's changes, all of them or none.

        Raises:
            Unwritable: a change does not fit its table.
        """
        keys = [self._resolve(change) for change in changes]
        for change, key in zip(changes, keys, strict=True):
            self._add(change, key)

    def _resolve(self, change: Change) -> Key:
        table = self._tables.get(change.table)
        if table is None:
            raise Unwritable(f"there is no table {change.table}")
        given = change.key
        if len(given) != len(table.key):
            raise Unwritable(f"{change.table}: the key is {', '.join(table.key)}")
        texts: list[str] = []
        for column in table.key:
            if column not in given:
                raise Unwritable(f"{change.table}: the key lacks {column}")
            value = given[column]
            text = value if type(value) is str else text_of(value)
            if text is None:
                raise Unwritable(f"{change.table}: {column} is null in a key")
            texts.append(text)
        for column, (how, value) in change.columns.items():
            if column not in table.types or column in given:
                raise Unwritable(f"{change.table}: {column} cannot be written")
            if how is not How.SET and how is not How.FIRST:
                _check(column, how, value)
        return change.table, tuple(texts)

    def _add(self, change: Change, key: Key) -> None:
        found = self._latest.get(key)
        if found is None:
            self._put(0, key, Row(change.action, key[1], dict(change.columns)))
            return
        wave, row = found
        if change.action is Action.DELETE:
            row.action, row.columns = Action.DELETE, {}
        elif row.action is Action.DELETE:
            if change.action is Action.UPSERT:
                self._put(wave + 1, key, Row(change.action, key[1], dict(change.columns)))
        elif row.action is Action.UPDATE and change.action is Action.UPSERT:
            self._put(wave + 1, key, Row(change.action, key[1], dict(change.columns)))
        else:
            folded = _fold(row.columns, change.columns)
            if folded is None:
                self._put(wave + 1, key, Row(change.action, key[1], dict(change.columns)))
            else:
                row.columns = folded

    def _put(self, wave: int, key: Key, row: Row) -> None:
        if wave == len(self.waves):
            self.waves.append({})
        self.waves[wave][key] = row
        self._latest[key] = (wave, row)


def in_order(columns: Columns) -> tuple[tuple[str, How], ...]:
    """Which columns a row writes and how: rows of one shape share a statement."""
    return tuple(sorted(((column, how) for column, (how, _) in columns.items()), key=itemgetter(0)))


def _check(column: str, how: How, value: object) -> None:
    if how is How.ADD and (isinstance(value, bool) or not isinstance(value, int | Decimal | timedelta)):
        raise Unwritable(f"{column}: {value!r} cannot be added; sums are of whole numbers, decimals or intervals")
    if how in (How.GREATEST, How.LEAST) and not isinstance(value, int | float | Decimal | date | timedelta | None):
        raise Unwritable(f"{column}: {value!r} has no order that the database shares")


def _fold(earlier: Columns, later: Columns) -> Columns | None:
    """Both changes as one; None where there is no such change."""
    folded = dict(earlier)
    for column, (how, value) in later.items():
        before = earlier.get(column)
        if before is None or how is How.SET:
            folded[column] = (how, value)
        elif before[0] is How.SET or before[0] is how:
            try:
                folded[column] = (before[0], _combine(how, before[1], value))
            except TypeError:
                return None
        else:
            return None
    return folded


def _combine(how: How, old: object, new: object) -> object:
    """What PostgreSQL would make of the two values."""
    if old is None:
        return new
    if new is None or how is How.FIRST:
        return old
    if how is How.ADD:
        return old + new  # type: ignore[operator]  # checked to be numbers; a set value that is none raises TypeError
    if how is How.GREATEST:
        return max(old, new)  # type: ignore[call-overload]  # as above
    return min(old, new)  # type: ignore[call-overload]  # as above
