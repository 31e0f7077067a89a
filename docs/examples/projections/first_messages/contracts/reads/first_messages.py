"""The read model `first_messages` as JSON: key, row and cursor."""

import msgspec

from contracts.values.field_types import Id, Sequence


class FirstMessagesKey(msgspec.Struct, frozen=True):
    """In the path of the route."""

    conversation_id: Id


class FirstMessagesItem(FirstMessagesKey, frozen=True):
    """A row as clients receive it; its fields are the columns of the query."""

    # The other person.
    user_id: Id
    # From the friendship to the first message; null until there is one.
    seconds: Sequence | None


class FirstMessagesCursor(FirstMessagesKey, frozen=True):
    """The columns by which rows are sorted, of the last row of a page."""

    seconds: Sequence
