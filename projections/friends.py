"""Friendships as each of the two users sees them, whom each blocks, and a contact entry for each user.

A user who blocks the other sees nothing of that user's requests.
"""

from contracts.envelope import Recorded
from contracts.events.friendship import (
    FriendshipAccepted,
    FriendshipBlocked,
    FriendshipCreated,
    FriendshipEvent,
    FriendshipRemoved,
    FriendshipUnblocked,
)
from contracts.events.user import UserCreated, UserEmailVerified
from contracts.subjects import AUTH, CONTACT
from projections.engine import RowChanges, handles
from projections.engine.erasing import ERASED_USERS, ErasingProjection


class Friends(ErasingProjection):
    version = 7
    streams = (CONTACT, AUTH)
    tables = (
        """
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
            -- the other person
            friend_id uuid,
            -- the resulting state: accepted, incoming, outgoing, removed; or blocked, unblocked
            state text,
            since timestamptz,
            PRIMARY KEY (user_id, sequence)
        );
        CREATE TABLE {blocks} (
            -- who blocks
            user_id uuid,
            blocked_id uuid,
            since timestamptz,
            PRIMARY KEY (user_id, blocked_id)
        );
        CREATE INDEX ON {blocks} (user_id, since DESC, blocked_id DESC);
        """
        + ERASED_USERS
    )
    # A null stays null.
    erasures = ("UPDATE {contacts} SET username = '' WHERE user_id = ANY(%(users)s) AND username <> ''",)

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
        # To both, a request is as old as it was before the reminder.
        if event.data.is_reminder:
            return
        requester, addressee = event.data.requester_id, event.data.addressee_id
        _see(event, write, requester, addressee, "outgoing")
        _see(event, write, addressee, requester, "incoming")

    @handles(FriendshipAccepted)
    def accepted(self, event: Recorded[FriendshipAccepted], write: RowChanges) -> None:
        requester, addressee = event.data.requester_id, event.data.addressee_id
        _see(event, write, requester, addressee, "accepted")
        _see(event, write, addressee, requester, "accepted")

    @handles(FriendshipRemoved)
    def removed(self, event: Recorded[FriendshipRemoved], write: RowChanges) -> None:
        remover, other = event.data.remover_id, event.data.other_id
        _see(event, write, remover, other, "removed")
        if not event.data.request_goes_on:
            _see(event, write, other, remover, "removed")

    @handles(FriendshipBlocked)
    def blocked(self, event: Recorded[FriendshipBlocked], write: RowChanges) -> None:
        user_id, blocked_id = event.data.blocker_id, event.data.blocked_id
        write.upsert("blocks", key={"user_id": user_id, "blocked_id": blocked_id}, set={"since": event.at})
        _change(event, write, user_id, blocked_id, "blocked")

    @handles(FriendshipUnblocked)
    def unblocked(self, event: Recorded[FriendshipUnblocked], write: RowChanges) -> None:
        user_id, blocked_id = event.data.blocker_id, event.data.blocked_id
        write.delete("blocks", key={"user_id": user_id, "blocked_id": blocked_id})
        _change(event, write, user_id, blocked_id, "unblocked")


def _see(event: Recorded[FriendshipEvent], write: RowChanges, user_id: str, friend_id: str, state: str) -> None:
    if user_id in event.data.blocked_by:
        return
    write.upsert(
        "friends",
        key={"user_id": user_id, "friend_id": friend_id},
        set={"state": state, "since": event.at, "sequence": event.sequence},
    )
    _change(event, write, user_id, friend_id, state)


def _change(event: Recorded[FriendshipEvent], write: RowChanges, user_id: str, friend_id: str, state: str) -> None:
    write.insert(
        "friend_changes",
        key={"user_id": user_id, "sequence": event.sequence},
        set={"friend_id": friend_id, "state": state, "since": event.at},
    )
