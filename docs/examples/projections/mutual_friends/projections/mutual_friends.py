"""How many friends two people have in common."""

from collections.abc import Sequence

import msgspec

from contracts.envelope import Recorded
from contracts.events.friendship import FriendshipAccepted, FriendshipRemoved
from contracts.subjects import CONTACT
from projections.engine import Projection, RowChanges, handles, rows_of


class Friend(msgspec.Struct, frozen=True):
    """What is looked up of a row of `friends`."""

    friend_id: str


class MutualFriends(Projection):
    version = 1
    streams = (CONTACT,)
    tables = """
        CREATE TABLE {friends} (
            user_id uuid,
            friend_id uuid,
            PRIMARY KEY (user_id, friend_id)
        );
        -- Each pair twice; 0: they no longer have any.
        CREATE TABLE {mutual_friends} (
            user_id uuid,
            other_id uuid,
            friends bigint NOT NULL,
            PRIMARY KEY (user_id, other_id)
        );
        CREATE INDEX ON {mutual_friends} (user_id, friends DESC, other_id);
    """

    @handles(
        FriendshipAccepted,
        ours=rows_of("friends", Friend, key=lambda event: {"user_id": event.data.requester_id}),
        theirs=rows_of("friends", Friend, key=lambda event: {"user_id": event.data.addressee_id}),
    )
    def accepted(
        self, event: Recorded[FriendshipAccepted], write: RowChanges, ours: Sequence[Friend], theirs: Sequence[Friend]
    ) -> None:
        one, other = event.data.requester_id, event.data.addressee_id
        for user_id, friend_id in ((one, other), (other, one)):
            write.insert("friends", key={"user_id": user_id, "friend_id": friend_id})
        _count(write, one, theirs, 1)
        _count(write, other, ours, 1)

    @handles(
        FriendshipRemoved,
        ours=rows_of("friends", Friend, key=lambda event: {"user_id": event.data.remover_id}),
        theirs=rows_of("friends", Friend, key=lambda event: {"user_id": event.data.other_id}),
    )
    def removed(
        self, event: Recorded[FriendshipRemoved], write: RowChanges, ours: Sequence[Friend], theirs: Sequence[Friend]
    ) -> None:
        one, other = event.data.remover_id, event.data.other_id
        if Friend(other) not in ours:
            # It was a request that nobody had accepted.
            return
        for user_id, friend_id in ((one, other), (other, one)):
            write.delete("friends", key={"user_id": user_id, "friend_id": friend_id})
        _count(write, one, theirs, -1)
        _count(write, other, ours, -1)


def _count(write: RowChanges, user_id: str, others: Sequence[Friend], change: int) -> None:
    """Changes the number of friends that a user and each of the others have in common."""
    for other_id in [other.friend_id for other in others if other.friend_id != user_id]:
        for one, two in ((user_id, other_id), (other_id, user_id)):
            write.upsert("mutual_friends", key={"user_id": one, "other_id": two}, add={"friends": change})
