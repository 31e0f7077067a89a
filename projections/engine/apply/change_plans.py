"""Plans for row changes, computed once per shape, since a projection's changes have only a few shapes.

A change is reduced to its values, in the order of its shape's columns; the shape determines the lookups, checks and
combinations. Two changes of one row are merged by a `MergePlan`, one per pair of shapes.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from types import NoneType
from typing import NamedTuple

from projections.engine.changes import Change, MergeRule, RowAction, Values
from projections.engine.storage.pg_text import MOMENTS, UnsupportedValue, to_pg_text
from projections.engine.storage.tables import Table

Key = tuple[object, ...]
Columns = tuple[tuple[str, MergeRule], ...]

_SET, _ADD, _GREATEST, _LEAST, _FIRST = MergeRule
# Separators between the column names in the key of a change's form. They are not strings, since a column may be called
# `add`.
_NOW_SET, _NOW_ADD, _NOW_GREATEST, _NOW_LEAST, _NOW_FIRST = range(len(MergeRule))
_WHOLE_NUMBERS = {"smallint", "integer", "bigint"}
# Types of values that need no further check in a column that is summed or compared.
_PLAIN: dict[MergeRule, frozenset[type]] = {
    _ADD: frozenset({int, Decimal, timedelta}),
    _GREATEST: frozenset({int, Decimal, date, datetime, timedelta, NoneType}),
    _LEAST: frozenset({int, Decimal, date, datetime, timedelta, NoneType}),
}
# Combines two values as PostgreSQL would.
_COMBINED = {
    _ADD: "({old} if (b := {new}) is None else b if (a := {old}) is None else a + b)",
    _GREATEST: "({old} if (b := {new}) is None else b if (a := {old}) is None or b > a else a)",
    _LEAST: "({old} if (b := {new}) is None else b if (a := {old}) is None or b < a else a)",
    _FIRST: "({new} if (a := {old}) is None else a)",
}


class ChangePlan:
    """The shape of a change: table, action, and the written columns with their merge rules."""

    __slots__ = ("action", "columns", "folds", "name", "table")

    def __init__(self, table: Table, action: RowAction, columns: Columns) -> None:
        self.table = table
        self.name = table.name
        self.action = action
        self.columns = columns
        # Merge plans by the later change's shape; None if the two cannot be merged into one change.
        self.folds: dict[ChangePlan, MergePlan | None] = {}


# A resolved change: its shape, its key in the table's order, and the values in the order of the shape's columns.
Resolved = tuple[ChangePlan, Key, Sequence[object]]


class MergePlan(NamedTuple):
    """Merges a later change of a row into the earlier one: the resulting shape, and how to combine the values."""

    shape: ChangePlan
    # Raises TypeError or ArithmeticError if two values cannot be combined in Python.
    combine: Callable[[Sequence[object], Sequence[object]], Sequence[object]]


class CallPlan:
    """Resolves the changes of one form: one way in which handlers name table, key and columns."""

    __slots__ = ("_key_types", "resolve_fast", "shape")

    def __init__(self, shape: ChangePlan) -> None:
        self.shape = shape
        table = shape.table
        self._key_types = tuple([int if table.types[column] in _WHOLE_NUMBERS else str for column in table.key])
        # Resolves a change of this form whose values need no further check; None, or a KeyError, for any other.
        # Compiled, since it runs several times per event.
        self.resolve_fast: Callable[..., Resolved | None] = _compiled(shape, self._key_types)

    def resolve_slow(self, change: Change) -> Resolved:
        """Resolves any change of this form.

        Raises:
            UnsupportedValue: as `Shapes.resolve`.
        """
        _, _, key_values, *effects = change
        by_how = dict(zip(MergeRule, effects, strict=True))
        columns = self.shape.columns
        values = tuple([(by_how[how] or {})[column] for column, how in columns])
        key = _key(self.shape.table, key_values, self._key_types)
        for column, value in zip(columns, values, strict=True):
            _check(*column, value)
        return self.shape, key, values


def _compiled(shape: ChangePlan, key_types: Sequence[type]) -> "Callable[..., Resolved | None]":
    """Compiles `resolve_fast`; the source consists of indexes and quoted names only."""
    names: dict[str, object] = {"shape": shape, "upon": shape.action, "name": shape.name, "datetime": datetime}
    names["text"] = _text_of_moment
    tests = ["action is upon", "table == name", f"type(given) is dict and len(given) == {len(key_types)}"]
    for how in MergeRule:
        count = [effect for _, effect in shape.columns].count(how)
        # Only dicts, since other mappings may have a value for every name.
        tests.append(f"type({how}) is dict and len({how}) == {count}" if count else f"not {how}")
    for index, (column, kind) in enumerate(zip(shape.table.key, key_types, strict=True)):
        if shape.table.types[column] == MOMENTS:
            tests.append(f"type(given[{column!r}]) is datetime and (key{index} := text(given[{column!r}]))")
        else:
            tests.append(f"type(key{index} := given[{column!r}]) is {kind.__name__}")
    values = [f"{how}[{column!r}]" for column, how in shape.columns]
    for index, (_, how) in enumerate(shape.columns):
        if how in _PLAIN:
            names[f"plain{index}"] = _PLAIN[how]
            tests.append(f"type(value{index} := {values[index]}) in plain{index}")
            values[index] = f"value{index}"
    key = "".join(f"key{index}, " for index in range(len(key_types)))
    compiled: Callable[..., Resolved | None] = eval(  # noqa: S307 - see above
        f"lambda action, table, given, {', '.join(MergeRule)}:"
        f" (shape, ({key}), ({''.join(f'{value}, ' for value in values)})) if {' and '.join(tests)} else None",
        names,
    )
    return compiled


class Shapes:
    """Caches the shapes that occur in one build's tables."""

    def __init__(self, tables: Mapping[str, Table]) -> None:
        self._tables = tables
        self._shapes: dict[tuple[str, RowAction, Columns], ChangePlan] = {}
        self._forms: dict[tuple[object, ...], CallPlan] = {}
        # Forms of the last event's changes, by event type; the next event usually has the same.
        self._usual: dict[str, list[CallPlan]] = {}

    def resolve(self, changes: Sequence[Change], kind: str = "") -> Sequence[Resolved]:
        """Resolves an event's changes to shape, key in the table's order, and values.

        Keys are equal if the database treats them as equal.
        `kind`: the event's type.

        Raises:
            UnsupportedValue: a change does not fit its table.
        """
        usual = self._usual.get(kind)
        if usual is not None and len(usual) == len(changes):
            try:
                resolved = [form.resolve_fast(*change) for form, change in zip(usual, changes, strict=True)]
            except KeyError:
                pass
            else:
                if None not in resolved:
                    return resolved  # type: ignore[return-value]  # none of them is None
        forms = self._usual[kind] = [self._form_of(change) for change in changes]
        return [
            form.resolve_fast(*change) or form.resolve_slow(change) for form, change in zip(forms, changes, strict=True)
        ]

    def _form_of(self, change: Change) -> CallPlan:
        action, table, key, set_, add, greatest, least, first = change
        words = (
            action,
            table,
            *key,
            _NOW_SET,
            *(set_ or ()),
            _NOW_ADD,
            *(add or ()),
            _NOW_GREATEST,
            *(greatest or ()),
            _NOW_LEAST,
            *(least or ()),
            _NOW_FIRST,
            *(first or ()),
        )
        form = self._forms.get(words)
        if form is None:
            form = self._forms[words] = self._form(change)
        return form

    def shape(self, table: Table, action: RowAction, columns: Columns) -> ChangePlan:
        """Returns the shape, created on first use."""
        kind = table.name, action, columns
        plan = self._shapes.get(kind)
        if plan is None:
            plan = self._shapes[kind] = ChangePlan(table, action, columns)
        return plan

    def fold(self, earlier: ChangePlan, later: ChangePlan) -> "MergePlan | None":
        """The plan that merges the later change into the earlier one; None if they cannot become one change."""
        try:
            return earlier.folds[later]
        except KeyError:
            fold = earlier.folds[later] = _fold(earlier, later, self)
            return fold

    def _form(self, change: Change) -> CallPlan:
        action, name, key, *effects = change
        table = self._tables.get(name)
        if table is None:
            raise UnsupportedValue(f"there is no table {name}")
        if set(key) != set(table.key):
            raise UnsupportedValue(f"{name}: the key is {', '.join(table.key)}")
        columns = tuple(
            [(column, how) for how, values in zip(MergeRule, effects, strict=True) for column in values or ()]
        )
        names = [column for column, _ in columns]
        for column in names:
            if column not in table.types or column in key:
                raise UnsupportedValue(f"{name}: {column} cannot be written")
        if len(set(names)) != len(names):
            raise UnsupportedValue(f"{name}: a column is written twice by one call")
        return CallPlan(self.shape(table, action, columns))


def _fold(earlier: ChangePlan, later: ChangePlan, shapes: Shapes) -> MergePlan | None:
    if later.action is RowAction.DELETE:
        return MergePlan(later, _nothing)
    if earlier.action is RowAction.DELETE:
        return MergePlan(earlier, _nothing) if later.action is RowAction.UPDATE else None
    if earlier.action is RowAction.UPDATE and later.action is not RowAction.UPDATE:
        return None
    columns = dict(earlier.columns)
    indices = {column: index for index, column in enumerate(columns)}
    terms = {column: f"old[{index}]" for column, index in indices.items()}
    for new, (column, how) in enumerate(later.columns):
        before = columns.get(column)
        if before is None or how is _SET:
            columns[column] = how
            terms[column] = f"new[{new}]"
        elif before is _SET or before is how:
            terms[column] = _COMBINED[how].format(old=f"old[{indices[column]}]", new=f"new[{new}]")
        else:
            return None
    # Compiled, since it runs several times per event; the source consists of indexes only.
    combine = eval(f"lambda old, new: ({''.join(f'{term}, ' for term in terms.values())})")  # noqa: S307 - see above
    return MergePlan(shapes.shape(earlier.table, earlier.action, tuple(columns.items())), combine)


def _nothing(old: Sequence[object], new: Sequence[object]) -> Sequence[object]:
    return ()


def _key(table: Table, values: Values, types: Sequence[type]) -> Key:
    return tuple(
        [_key_value(column, values[column], column_type) for column, column_type in zip(table.key, types, strict=True)]
    )


def _key_value(column: str, value: object, column_type: type) -> object:
    text = to_pg_text(value)
    if text is None:
        raise UnsupportedValue(f"{column} is null in a key")
    if column_type is str:
        return text
    try:
        return int(text)
    except ValueError as error:
        raise UnsupportedValue(f"{column}: {value!r} is not an integer") from error


# Cached, since many rows share a time in their keys: an hour, a day.
@lru_cache(maxsize=1_000)
def _text_of_moment(moment: datetime) -> str | None:
    return to_pg_text(moment)


def _check(column: str, how: MergeRule, value: object) -> None:
    if how is MergeRule.ADD and (isinstance(value, bool) or not isinstance(value, int | Decimal | timedelta)):
        raise UnsupportedValue(
            f"{column}: {value!r} cannot be added; only integers, decimals and intervals can be added"
        )
    if how in (MergeRule.GREATEST, MergeRule.LEAST) and not isinstance(
        value, int | float | Decimal | date | timedelta | None
    ):
        raise UnsupportedValue(f"{column}: {value!r} is not ordered as in the database")
