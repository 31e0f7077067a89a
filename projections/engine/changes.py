"""Row changes, as event handlers declare them: insert, upsert, update, delete.

Handlers have no access to the database. They declare how an event changes the row of a key. The engine merges a batch's
changes of one key into one change, and writes all changes of a table with one statement.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

Values = Mapping[str, object]
# Columns that decide, compared one after the other, and the columns that are written with them.
Deciding = tuple[Values, Values]


class RowAction(StrEnum):
    INSERT = "insert"
    UPSERT = "upsert"
    UPDATE = "update"
    DELETE = "delete"
    # Of all rows whose keys begin with the given values.
    DELETE_ALL = "delete all"
    # Of rows whose end has come; the engine adds it to the changes of such rows.
    DELETE_ENDED = "delete ended"


class MergeRule(StrEnum):
    """How a new value is merged into a column that has a value; a column without one gets the new value."""

    SET = "set"
    ADD = "add"
    GREATEST = "greatest"
    LEAST = "least"
    FIRST = "first"


class Operator(StrEnum):
    """How a condition compares a column with a value; NULL is an ordinary value for the first two only."""

    EQUAL = "IS NOT DISTINCT FROM"
    OTHER = "IS DISTINCT FROM"
    LESS = "<"
    AT_MOST = "<="
    GREATER = ">"
    AT_LEAST = ">="


class Compared(NamedTuple):
    """A condition's value for one column, with another operator than equality."""

    operator: Operator
    value: object


def other_than(value: object) -> Compared:
    """The column has another value, or none where the value is not None."""
    return Compared(Operator.OTHER, value)


def less_than(value: object) -> Compared:
    return Compared(Operator.LESS, value)


def at_most(value: object) -> Compared:
    return Compared(Operator.AT_MOST, value)


def greater_than(value: object) -> Compared:
    return Compared(Operator.GREATER, value)


def at_least(value: object) -> Compared:
    return Compared(Operator.AT_LEAST, value)


# The rarer arguments of a change: `greatest_by`, `least_by`, `where`; None if it has none of them.
Rarer = tuple[Deciding | None, Deciding | None, Values | None]
# One event's change of one row: action, table, key, the values by column for each `MergeRule` in its order, and the
# rarer arguments. A plain tuple, since a rebuild creates several per event and reads each once.
Change = tuple[
    RowAction, str, Values, Values | None, Values | None, Values | None, Values | None, Values | None, Rarer | None
]
_INSERT, _UPSERT, _UPDATE, _DELETE, _DELETE_ALL, _ = RowAction


class RowChanges:
    """Collects the changes of one event, in order. `table` is the name inside the braces of the projection's DDL."""

    __slots__ = ("changes",)

    def __init__(self) -> None:
        self.changes: list[Change] = []

    def insert(
        self,
        table: str,
        *,
        key: Values,
        set: Values | None = None,  # noqa: A002 - reads as SQL does
        first: Values | None = None,
    ) -> None:
        """As `upsert`, for a row that is not there yet. Only the cost of a rebuild depends on that.

        A large batch copies such rows in, at a quarter of the cost of merging them. If one of them exists after all (an
        event was applied late), that batch is merged.
        """
        self.changes.append((_INSERT, table, key, set, None, None, None, first, None))

    def upsert(
        self,
        table: str,
        *,
        key: Values,
        set: Values | None = None,  # noqa: A002 - reads as SQL does
        add: Values | None = None,
        greatest: Values | None = None,
        least: Values | None = None,
        first: Values | None = None,
        greatest_by: Deciding | None = None,
        least_by: Deciding | None = None,
        where: Values | None = None,
    ) -> None:
        """Inserts the row, or merges into the existing one.

        `add` sums (integers, decimals, intervals: sums that do not depend on the order). `greatest` and `least` keep
        the higher or lower value (numbers, times, texts by their code points). `first` keeps the existing value unless
        it is null. An unnamed column keeps its value, or gets its default in a new row. PostgreSQL checks NOT NULL
        before it looks for the row, so a NOT NULL column without a default must be named in every upsert (or use
        `update`).

        `greatest_by=({"sent_at": at, "sequence": sequence}, {"text": text})` writes all of these columns if the row's
        values of the first ones, compared one after the other, are not higher; `least_by` if they are higher. So of
        equal ones the last event counts for `greatest_by`, and the first for `least_by`. A row in which one of them is
        null is written. The deciding values are numbers, times or texts, and never None.

        `where={"state": "open", "tries": less_than(3)}` merges into an existing row only if these columns compare so; a
        row that does not exist is inserted. Conditional changes of one row are written one after the other, and so
        cost more if a row has many of them.
        """
        rarer = None if greatest_by is None and least_by is None and where is None else (greatest_by, least_by, where)
        self.changes.append((_UPSERT, table, key, set, add, greatest, least, first, rarer))

    def update(
        self,
        table: str,
        *,
        key: Values,
        set: Values | None = None,  # noqa: A002 - reads as SQL does
        add: Values | None = None,
        greatest: Values | None = None,
        least: Values | None = None,
        first: Values | None = None,
        greatest_by: Deciding | None = None,
        least_by: Deciding | None = None,
        where: Values | None = None,
    ) -> None:
        """Merges into the row if it exists and the columns in `where` compare so, else does nothing; see `upsert`.

        Only for rows that an earlier event of the same stream created: an update of another stream's rows does not
        commute with their creation. The same is true of columns in `where` that another stream's events write.
        """
        rarer = None if greatest_by is None and least_by is None and where is None else (greatest_by, least_by, where)
        if set or add or greatest or least or first or greatest_by or least_by:
            self.changes.append((_UPDATE, table, key, set, add, greatest, least, first, rarer))

    def delete(self, table: str, *, key: Values, where: Values | None = None) -> None:
        """Deletes the row if it exists and the columns in `where` compare so; `key` is the whole primary key."""
        rarer = None if where is None else (None, None, where)
        self.changes.append((_DELETE, table, key, None, None, None, None, None, rarer))

    def delete_all(self, table: str, *, key: Values) -> None:
        """Deletes every row whose primary key begins with these columns, as far as events so far have written them.

        Only for rows that events of the same stream create.
        """
        self.changes.append((_DELETE_ALL, table, key, None, None, None, None, None, None))
