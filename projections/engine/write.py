"""What a handler says about rows: set these, add to those, delete that one.

Handlers never see the database. They say how an event changes the row of a key; the engine folds what a whole batch
says about one key into one change and writes all of a table's changes with one statement.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

Values = Mapping[str, object]


class Action(StrEnum):
    UPSERT = "upsert"
    UPDATE = "update"
    DELETE = "delete"


class How(StrEnum):
    """What becomes of a column that has a value already; where it has none, the new value stands."""

    SET = "set"
    ADD = "add"
    GREATEST = "greatest"
    LEAST = "least"
    FIRST = "first"


Columns = dict[str, tuple[How, object]]
_SET, _ADD, _GREATEST, _LEAST, _FIRST = How


class Change(NamedTuple):
    """What one event does to one row."""

    action: Action
    table: str
    key: Values
    columns: Columns


class Write:
    """Collects the changes of one event, in order. `table` is the name inside the braces of the projection's DDL."""

    __slots__ = ("changes",)

    def __init__(self) -> None:
        self.changes: list[Change] = []

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
    ) -> None:
        """Inserts the row, or merges into the one that is there.

        `add` sums (whole numbers, decimals, intervals: sums that do not depend on the order), `greatest` and `least`
        keep the higher or lower (numbers and times), `first` keeps what was there once it is not null. A column that
        is not named keeps its value, or its default in a new row; since PostgreSQL checks NOT NULL before it looks
        for the row, columns without a default are nullable or named in every upsert (or use `update`).
        """
        columns = _columns(set, add, greatest, least, first)
        self.changes.append(Change(Action.UPSERT, table, key, columns))

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
    ) -> None:
        """Merges into the row if it is there, else does nothing.

        Only for rows that an earlier event of the same stream has made: against rows of another stream it does not
        commute.
        """
        columns = _columns(set, add, greatest, least, first)
        if columns:
            self.changes.append(Change(Action.UPDATE, table, key, columns))

    def delete(self, table: str, *, key: Values) -> None:
        """Deletes the row if it is there; `key` is the whole primary key."""
        self.changes.append(Change(Action.DELETE, table, key, {}))


def _columns(
    set_: Values | None, add: Values | None, greatest: Values | None, least: Values | None, first: Values | None
) -> Columns:
    columns: Columns = {}
    named = 0
    for how, values in ((_SET, set_), (_ADD, add), (_GREATEST, greatest), (_LEAST, least), (_FIRST, first)):
        if values:
            named += len(values)
            for column, value in values.items():
                columns[column] = (how, value)
    if named != len(columns):
        raise ValueError("a column is written twice by one call")
    return columns
