"""The read model `mutual_friends` as JSON: key, row and cursor."""

import msgspec

from contracts.values.field_types import Id, Sequence


class MutualFriendsKey(msgspec.Struct, frozen=True):
    """In the path of the route."""

    user_id: Id


class MutualFriendsItem(MutualFriendsKey, frozen=True):
    """A row as clients receive it; its fields are the columns of the query."""

    friends: Sequence


class MutualFriendsCursor(MutualFriendsKey, frozen=True):
    """The columns by which rows are sorted, of the last row of a page."""

    friends: Sequence
