"""Friendships as each of the two users sees them, and a contact entry for each user, shown once verified."""

from contracts.envelope import Recorded
from contracts.events.friendship import FriendshipAccepted, FriendshipCreated, FriendshipRemoved
from contracts.events.user import UserCreated, UserEmailVerified
from contracts.subjects import AUTH, CONTACT
from projections.engine import Projection, RowChanges, handles


class Friends(Projection):
    version = 3
    streams = (CONTACT, AUTH)
    tables = """
        CREATE TABLE {contacts} (
            user_id uuid PRIMARY KEY,
            username text,
            since timestamptz,
            -- until then others cannot find the user
            verified boolean NOT NULL DEFAULT false
        );
        CREATE TABLE {friends} (
            user_id uuid,
            friend_id uuid,
            -- accepted, incoming, outgoing, removed
            state text,
            since timestamptz,
            -- of the last event, in CONTACT
            sequence bigint,
            PRIMARY KEY (user_id, friend_id)
        );
        CREATE INDEX ON {friends} (user_id, since DESC, friend_id DESC) WHERE state <> 'removed';
        CREATE INDEX ON {friends} (user_id, state, since DESC, friend_id DESC);
        -- Each change keeps its own row, so that a client that was offline can receive them all.
        CREATE TABLE {friend_changes} (
            user_id uuid,
            sequence bigint,
            friend_id uuid,
            -- the resulting state: accepted, incoming, outgoing, removed
            state text,
            since timestamptz,
            PRIMARY KEY (user_id, sequence)
        );
    """

    @handles(UserCreated)
    def registered(self, event: Recorded[UserCreated], write: RowChanges) -> None:
        write.upsert(
            "contacts",
            key={"user_id": event.aggregate_id},
            set={"username": event.data.username, "since": event.at},
        )

    @handles(UserEmailVerified)
    def verified(self, event: Recorded[UserEmailVerified], write: RowChanges) -> None:
        write.upsert("contacts", key={"user_id": event.aggregate_id}, set={"verified": True})

    @handles(FriendshipCreated)
    def created(self, event: Recorded[FriendshipCreated], write: RowChanges) -> None:
        requester, addressee = event.data.requester_id, event.data.addressee_id
        _see(event, write, requester, addressee, "outgoing")
        _see(event, write, addressee, requester, "incoming")

    @handles(FriendshipAccepted)
    def accepted(self, event: Recorded[FriendshipAccepted], write: RowChanges) -> None:
        _both(event, write, event.data.requester_id, event.data.addressee_id, "accepted")

    @handles(FriendshipRemoved)
    def removed(self, event: Recorded[FriendshipRemoved], write: RowChanges) -> None:
        _both(event, write, event.data.remover_id, event.data.other_id, "removed")


Friendship = Recorded[FriendshipCreated] | Recorded[FriendshipAccepted] | Recorded[FriendshipRemoved]


def _both(event: Friendship, write: RowChanges, one: str, other: str, state: str) -> None:
    _see(event, write, one, other, state)
    _see(event, write, other, one, state)


def _see(event: Friendship, write: RowChanges, user_id: str, friend_id: str, state: str) -> None:
    write.upsert(
        "friends",
        key={"user_id": user_id, "friend_id": friend_id},
        set={"state": state, "since": event.at, "sequence": event.sequence},
    )
    write.insert(
        "friend_changes",
        key={"user_id": user_id, "sequence": event.sequence},
        set={"friend_id": friend_id, "state": state, "since": event.at},
    )
