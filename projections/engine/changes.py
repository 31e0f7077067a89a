"""What a handler says about rows: set these, add to those, delete that one.

Handlers never see the database. They say how an event changes the row of a key; the engine folds what a whole batch
says about one key into one change and writes all of a table's changes with one statement.
"""

from collections.abc import Mapping
from enum import StrEnum

Values = Mapping[str, object]


class RowAction(StrEnum):
    UPSERT = "upsert"
    UPDATE = "update"
    DELETE = "delete"


class MergeRule(StrEnum):
    """What becomes of a column that has a value already; where it has none, the new value stands."""

    SET = "set"
    ADD = "add"
    GREATEST = "greatest"
    LEAST = "least"
    FIRST = "first"


# What one event does to one row, in the handler's own words: action, table, key, and the values by column for each
# `MergeRule` in its order. A plain tuple, since a rebuild makes several an event and looks at each once.
Change = tuple[RowAction, str, Values, Values | None, Values | None, Values | None, Values | None, Values | None]
_UPSERT, _UPDATE, _DELETE = RowAction


class RowChanges:
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
        self.changes.append((_UPSERT, table, key, set, add, greatest, least, first))

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
        if set or add or greatest or least or first:
            self.changes.append((_UPDATE, table, key, set, add, greatest, least, first))

    def delete(self, table: str, *, key: Values) -> None:
        """Deletes the row if it is there; `key` is the whole primary key."""
        self.changes.append((_DELETE, table, key, None, None, None, None, None))
