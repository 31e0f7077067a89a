"""What each user is told of: who asked to be a friend, who accepted, who has written.

What was read stands in a table of its own, since the mark may be read before what it marks: they come from
different streams.
"""

from collections.abc import Mapping
from typing import ClassVar
from uuid import UUID, uuid5

from contracts.envelope import Recorded
from contracts.event import Event
from contracts.events.friendship import FriendshipAccepted, FriendshipCreated
from contracts.events.message import MessageSent, NotificationRead
from contracts.subjects import CONTACT, MESSAGING, PUBLIC_FILTERS
from projections.engine import Projection, Write, handles


class Notifications(Projection):
    version = 1
    streams: ClassVar[Mapping[str, str | None]] = {CONTACT: PUBLIC_FILTERS[CONTACT], MESSAGING: None}
    tables = """
        CREATE TABLE {notifications} (
            user_id uuid,
            notification_id uuid,
            -- friend_request, friend_accepted, message
            kind text,
            from_user_id uuid,
            at timestamptz,
            PRIMARY KEY (user_id, notification_id)
        );
        CREATE INDEX ON {notifications} (user_id, at DESC, notification_id DESC);
        CREATE TABLE {notification_reads} (
            user_id uuid,
            notification_id uuid,
            read_at timestamptz,
            PRIMARY KEY (user_id, notification_id)
        );
    """

    @handles(FriendshipCreated)
    def requested(self, event: Recorded[FriendshipCreated], write: Write) -> None:
        _notify(event, write, event.data.addressee_id, "friend_request", event.data.requester_id)

    @handles(FriendshipAccepted)
    def accepted(self, event: Recorded[FriendshipAccepted], write: Write) -> None:
        _notify(event, write, event.data.requester_id, "friend_accepted", event.data.addressee_id)

    @handles(MessageSent)
    def sent(self, event: Recorded[MessageSent], write: Write) -> None:
        _notify(event, write, event.data.recipient_id, "message", event.data.sender_id)

    @handles(NotificationRead)
    def read(self, event: Recorded[NotificationRead], write: Write) -> None:
        for notification in event.data.notification_ids:
            write.upsert(
                "notification_reads",
                key={"user_id": event.aggregate_id, "notification_id": notification},
                first={"read_at": event.at},
            )


def notification_id(user_id: str, event_id: str) -> str:
    """The same whenever and wherever the event is read."""
    return str(uuid5(UUID(user_id), event_id))


def _notify(event: Recorded[Event], write: Write, user_id: str, kind: str, from_user_id: str) -> None:
    write.upsert(
        "notifications",
        key={"user_id": user_id, "notification_id": notification_id(user_id, event.id)},
        set={"kind": kind, "from_user_id": from_user_id, "at": event.at},
    )
