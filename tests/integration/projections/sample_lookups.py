"""Projections for tests that look rows up: common friends of two people, and unread messages."""

from typing import Any

import msgspec

from contracts.envelope import Recorded
from contracts.events.friendship import FriendshipAccepted, FriendshipRemoved
from contracts.events.message import MessageSeen, MessageSent
from contracts.subjects import CONTACT, MESSAGING
from contracts.values.ids import new_id
from projections.engine import Projection, RowChanges, folds, handles, row_of, rows_of
from tests.integration.projections.event_writer import conversation_ids

CONVERSATIONS = conversation_ids(2)
PEOPLE = sorted(new_id() for _ in range(5))


class Friend(msgspec.Struct, frozen=True):
    friend_id: str


def _of(person: str) -> Any:  # noqa: ANN401 - a function of any event
    return lambda event: {"user_id": getattr(event.data, person)}


class Mutuals(Projection):
    """How many friends two people have in common, for all who have any."""

    streams = (CONTACT,)
    tables = """
        CREATE TABLE {friends} (user_id uuid, friend_id uuid, PRIMARY KEY (user_id, friend_id));
        CREATE TABLE {mutuals} (
            user_id uuid, other_id uuid, friends bigint NOT NULL CHECK (friends < 100), PRIMARY KEY (user_id, other_id)
        );
    """

    @handles(
        FriendshipAccepted,
        ours=rows_of("friends", Friend, key=_of("requester_id")),
        theirs=rows_of("friends", Friend, key=_of("addressee_id")),
    )
    def accepted(
        self, event: Recorded[FriendshipAccepted], write: RowChanges, ours: list[Friend], theirs: list[Friend]
    ) -> None:
        one, other = event.data.requester_id, event.data.addressee_id
        write.upsert("friends", key={"user_id": one, "friend_id": other})
        write.upsert("friends", key={"user_id": other, "friend_id": one})
        _count(write, one, theirs, 1)
        _count(write, other, ours, 1)

    @handles(
        FriendshipRemoved,
        ours=rows_of("friends", Friend, key=_of("remover_id")),
        theirs=rows_of("friends", Friend, key=_of("other_id")),
    )
    def removed(
        self, event: Recorded[FriendshipRemoved], write: RowChanges, ours: list[Friend], theirs: list[Friend]
    ) -> None:
        one, other = event.data.remover_id, event.data.other_id
        if Friend(other) not in ours:
            # A request was withdrawn.
            return
        write.delete("friends", key={"user_id": one, "friend_id": other})
        write.delete("friends", key={"user_id": other, "friend_id": one})
        _count(write, one, theirs, -1)
        _count(write, other, ours, -1)


def _count(write: RowChanges, person: str, others: list[Friend], by: int) -> None:
    """Counts one more or less common friend of a person and each of the others."""
    for other in others:
        if other.friend_id != person:
            write.upsert("mutuals", key={"user_id": person, "other_id": other.friend_id}, add={"friends": by})
            write.upsert("mutuals", key={"user_id": other.friend_id, "other_id": person}, add={"friends": by})


class Text(msgspec.Struct, frozen=True):
    text: str


class Mark(msgspec.Struct, frozen=True):
    sequence: int


class Unread(msgspec.Struct, frozen=True):
    sent: int
    unread: int


class Readers(Projection):
    """A fold that looks up a handled and a folded table."""

    streams = (MESSAGING,)
    tables = """
        CREATE TABLE {marks} (
            conversation_id uuid, reader_id uuid, sequence bigint, PRIMARY KEY (conversation_id, reader_id)
        );
        CREATE TABLE {unread} (conversation_id uuid PRIMARY KEY, sent bigint NOT NULL, unread bigint NOT NULL)
    """

    @handles(
        MessageSeen, unread=row_of("unread", Unread, key=lambda event: {"conversation_id": event.data.conversation_id})
    )
    def seen(self, event: Recorded[MessageSeen], write: RowChanges, unread: Unread | None) -> None:
        assert unread is not None
        assert unread.sent >= event.data.sequence, "it cannot be seen before it was sent"
        write.upsert(
            "marks",
            key={"conversation_id": event.data.conversation_id, "reader_id": event.data.reader_id},
            greatest={"sequence": event.data.sequence},
        )

    @folds(
        MessageSent,
        table="unread",
        key="conversation_id",
        mark=row_of(
            "marks",
            Mark,
            key=lambda event: {"conversation_id": event.aggregate_id, "reader_id": event.data.recipient_id},
        ),
    )
    def said(self, row: Unread | None, event: Recorded[MessageSent], mark: Mark | None) -> Unread:
        if str(event.data.text) == "poison":
            raise ValueError("poison")
        return Unread((row.sent if row else 0) + 1, event.data.sequence - (mark.sequence if mark else 0))
