"""The shapes that changes have, worked out once a shape: a million events say the same few things about rows.

A change is taken as its values alone, in the order of its shape's columns; what to look up, to check and to combine is
known from the shape. Two changes of one row become one by a fold, of which there is one a pair of shapes.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from types import NoneType
from typing import NamedTuple

from projections.engine.literals import Unwritable, text_of
from projections.engine.write import Action, Change, How

Key = tuple[object, ...]
Columns = tuple[tuple[str, How], ...]

_SET, _ADD, _GREATEST, _LEAST, _FIRST = How
# Stand between the columns' names in the words of a change. None is a text: a column may be called `add`.
_NOW_SET, _NOW_ADD, _NOW_GREATEST, _NOW_LEAST, _NOW_FIRST = range(len(How))
_WHOLE_NUMBERS = {"smallint", "integer", "bigint"}
# What needs no closer look in a column that is added to, or compared.
_PLAIN: dict[How, frozenset[type]] = {
    _ADD: frozenset({int, Decimal, timedelta}),
    _GREATEST: frozenset({int, Decimal, date, datetime, timedelta, NoneType}),
    _LEAST: frozenset({int, Decimal, date, datetime, timedelta, NoneType}),
}
# What PostgreSQL would make of two values.
_COMBINED = {
    _ADD: "({old} if (b := {new}) is None else b if (a := {old}) is None else a + b)",
    _GREATEST: "({old} if (b := {new}) is None else b if (a := {old}) is None or b > a else a)",
    _LEAST: "({old} if (b := {new}) is None else b if (a := {old}) is None or b < a else a)",
    _FIRST: "({new} if (a := {old}) is None else a)",
}


class Table(NamedTuple):
    """A table as the catalog has it."""

    # The name inside the braces, and that of this build.
    name: str
    physical: str
    # The primary key's columns, in its order.
    key: tuple[str, ...]
    # Column to type, the key's among them.
    types: dict[str, str]


class Shape:
    """What is done to a row of one table, and which columns are written in which way."""

    __slots__ = ("action", "columns", "folds", "name", "table")

    def __init__(self, table: Table, action: Action, columns: Columns) -> None:
        self.table = table
        self.name = table.name
        self.action = action
        self.columns = columns
        # How a row of this shape takes up a change of another; None where no single change says both.
        self.folds: dict[Shape, Fold | None] = {}


class Fold(NamedTuple):
    """How a row takes up a change: its shape afterwards, and its values out of those before and the change's."""

    shape: Shape
    # Raises TypeError or ArithmeticError where two values cannot be combined here.
    combine: Callable[[Sequence[object], Sequence[object]], Sequence[object]]


class Form:
    """One way in which handlers name table, key and columns; knows the shape that this means."""

    __slots__ = ("fits", "key_types", "shape", "take")

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        table = shape.table
        self.key_types = tuple([int if table.types[column] in _WHOLE_NUMBERS else str for column in table.key])
        # Both compiled, since they run several times an event; nothing but places and quoted names goes into them.
        key = "".join(f"given[{column!r}], " for column in table.key)
        values = "".join(f"{how.value}[{column!r}], " for column, how in shape.columns)
        # The key in the table's order and the values in the shape's, out of what a change says.
        self.take: Callable[..., tuple[Key, tuple[object, ...]]] = eval(  # noqa: S307 - see above
            f"lambda given, {', '.join(How)}: (({key}), ({values}))"
        )
        plain = {f"plain{place}": _PLAIN[how] for place, (_, how) in enumerate(shape.columns) if how in _PLAIN}
        terms = [f"type(key[{place}]) is {kind.__name__}" for place, kind in enumerate(self.key_types)]
        terms += [f"type(values[{name.removeprefix('plain')}]) in {name}" for name in plain]
        # Whether they are of kinds that need no closer look.
        self.fits: Callable[[Key, tuple[object, ...]], bool] = eval(  # noqa: S307 - see above
            f"lambda key, values: {' and '.join(terms)}", plain
        )


class Shapes:
    """The shapes of one build's tables, as far as they have occurred."""

    def __init__(self, tables: Mapping[str, Table]) -> None:
        self._tables = tables
        self._shapes: dict[tuple[str, Action, Columns], Shape] = {}
        self._forms: dict[tuple[object, ...], Form] = {}

    def resolve(self, change: Change) -> tuple[Shape, Key, Sequence[object]]:
        """The change as its shape, its key in the table's order, and its values.

        Keys are equal for whatever the database takes for the same.

        Raises:
            Unwritable: it does not fit its table.
        """
        action, table, given, set_, add, greatest, least, first = change
        # This runs several times an event: nothing is looked at here that the names alone can tell.
        words = (
            action,
            table,
            *given,
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
        shape = form.shape
        key, values = form.take(given, set_, add, greatest, least, first)
        if not form.fits(key, values):
            key = _key(shape.table, key, form.key_types)
            for column, value in zip(shape.columns, values, strict=True):
                _check(*column, value)
        return shape, key, values

    def shape(self, table: Table, action: Action, columns: Columns) -> Shape:
        """The one shape of its kind."""
        kind = table.name, action, columns
        found = self._shapes.get(kind)
        if found is None:
            found = self._shapes[kind] = Shape(table, action, columns)
        return found

    def fold(self, earlier: Shape, later: Shape) -> "Fold | None":
        """How a row of one shape takes up a change of the other; None where no single change says both."""
        try:
            return earlier.folds[later]
        except KeyError:
            fold = earlier.folds[later] = _fold(earlier, later, self)
            return fold

    def _form(self, change: Change) -> Form:
        action, name, given, *said = change
        table = self._tables.get(name)
        if table is None:
            raise Unwritable(f"there is no table {name}")
        if set(given) != set(table.key):
            raise Unwritable(f"{name}: the key is {', '.join(table.key)}")
        columns = tuple([(column, how) for how, values in zip(How, said, strict=True) for column in values or ()])
        names = [column for column, _ in columns]
        for column in names:
            if column not in table.types or column in given:
                raise Unwritable(f"{name}: {column} cannot be written")
        if len(set(names)) != len(names):
            raise Unwritable(f"{name}: a column is written twice by one call")
        return Form(self.shape(table, action, columns))


def _fold(earlier: Shape, later: Shape, shapes: Shapes) -> Fold | None:
    if later.action is Action.DELETE:
        return Fold(later, _nothing)
    if earlier.action is Action.DELETE:
        return None if later.action is Action.UPSERT else Fold(earlier, _nothing)
    if earlier.action is Action.UPDATE and later.action is Action.UPSERT:
        return None
    columns = dict(earlier.columns)
    places = {column: place for place, column in enumerate(columns)}
    terms = {column: f"old[{place}]" for column, place in places.items()}
    for new, (column, how) in enumerate(later.columns):
        before = columns.get(column)
        if before is None or how is _SET:
            columns[column] = how
            terms[column] = f"new[{new}]"
        elif before is _SET or before is how:
            terms[column] = _COMBINED[how].format(old=f"old[{places[column]}]", new=f"new[{new}]")
        else:
            return None
    # Compiled, since it runs several times an event; nothing but places goes into it.
    combine = eval(f"lambda old, new: ({''.join(f'{term}, ' for term in terms.values())})")  # noqa: S307 - see above
    return Fold(shapes.shape(earlier.table, earlier.action, tuple(columns.items())), combine)


def _nothing(old: Sequence[object], new: Sequence[object]) -> Sequence[object]:
    return ()


def _key(table: Table, key: Key, types: Sequence[type]) -> Key:
    return tuple([_key_value(*each) for each in zip(table.key, key, types, strict=True)])


def _key_value(column: str, value: object, wanted: type) -> object:
    text = text_of(value)
    if text is None:
        raise Unwritable(f"{column} is null in a key")
    if wanted is str:
        return text
    try:
        return int(text)
    except ValueError as error:
        raise Unwritable(f"{column}: {value!r} is no whole number") from error


def _check(column: str, how: How, value: object) -> None:
    if how is How.ADD and (isinstance(value, bool) or not isinstance(value, int | Decimal | timedelta)):
        raise Unwritable(f"{column}: {value!r} cannot be added; sums are of whole numbers, decimals or intervals")
    if how in (How.GREATEST, How.LEAST) and not isinstance(value, int | float | Decimal | date | timedelta | None):
        raise Unwritable(f"{column}: {value!r} has no order that the database shares")
