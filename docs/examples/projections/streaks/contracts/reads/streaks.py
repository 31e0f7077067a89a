"""The read model `streaks` as JSON: key, row and cursor."""

import msgspec

from contracts.values.field_types import Id, Sequence


class StreaksKey(msgspec.Struct, frozen=True):
    """In the path of the route."""

    conversation_id: Id


class StreaksItem(StreaksKey, frozen=True):
    """A row as clients receive it; its fields are the columns of the query."""

    # The other person.
    user_id: Id
    # Days in a row on which both have written: the longest time, and whether nobody has more.
    longest: Sequence
    holds_record: bool


class StreaksCursor(StreaksKey, frozen=True):
    """The columns by which rows are sorted, of the last row of a page."""

    longest: Sequence
