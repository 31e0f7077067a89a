"""Row changes, as event handlers declare them: insert, upsert, update, delete.

Handlers have no access to the database. They declare how an event changes the row of a key. The engine merges a batch's
changes of one key into one change, and writes all changes of a table with one statement.
"""

from collections.abc import Mapping
from enum import StrEnum

Values = Mapping[str, object]


class RowAction(StrEnum):
    INSERT = "insert"
    UPSERT = "upsert"
    UPDATE = "update"
    DELETE = "delete"


class MergeRule(StrEnum):
    """How a new value is merged into a column that has a value; a column without one gets the new value."""

    SET = "set"
    ADD = "add"
    GREATEST = "greatest"
    LEAST = "least"
    FIRST = "first"


# One event's change of one row: action, table, key, and the values by column for each `MergeRule` in its order. A plain
# tuple, since a rebuild creates several per event and reads each once.
Change = tuple[RowAction, str, Values, Values | None, Values | None, Values | None, Values | None, Values | None]
_INSERT, _UPSERT, _UPDATE, _DELETE = RowAction


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
        """As `upsert`, for a row that no earlier event has written. Only a rebuild's cost depends on that.

        A large batch copies such rows in, at a quarter of the cost of merging them. If one of them exists after all (an
        event was applied late), that batch is merged.
        """
        self.changes.append((_INSERT, table, key, set, None, None, None, first))

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
        """Inserts the row, or merges into the existing one.

        `add` sums (integers, decimals, intervals: sums that do not depend on the order). `greatest` and `least` keep
        the higher or lower value (numbers and times). `first` keeps the existing value unless it is null. An unnamed
        column keeps its value, or gets its default in a new row. PostgreSQL checks NOT NULL before it looks for the
        row, so a NOT NULL column without a default must be named in every upsert (or use `update`).
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
        """Merges into the row if it exists, else does nothing.

        Only for rows that an earlier event of the same stream created: an update of another stream's rows does not
        commute with their creation.
        """
        if set or add or greatest or least or first:
            self.changes.append((_UPDATE, table, key, set, add, greatest, least, first))

    def delete(self, table: str, *, key: Values) -> None:
        """Deletes the row if it exists; `key` is the whole primary key."""
        self.changes.append((_DELETE, table, key, None, None, None, None, None))
