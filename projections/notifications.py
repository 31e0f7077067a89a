"""What each user is told of: who asked to be a friend, who accepted, who has written.

What was read stands in a table of its own, since the mark may be read before what it marks: they come from
different streams.
"""

from contracts.envelope import Recorded
from contracts.event import Event
from contracts.events.friendship import FriendshipAccepted, FriendshipCreated
from contracts.events.message import MessageSent, NotificationRead
from contracts.identifiers import notification_id
from contracts.live import FRIEND_ACCEPTED, FRIEND_REQUEST, MESSAGE
from contracts.subjects import CONTACT, MESSAGING
from projections.engine import Projection, Write, handles


class Notifications(Projection):
    version = 2
    streams = (MESSAGING, CONTACT)
    # Live clients hear of them from the streams; who reads the list waits for what it knows of.
    rest_seconds = 0.1
    tables = """
        CREATE TABLE {notifications} (
            user_id uuid,
            notification_id uuid,
            -- friend_request, friend_accepted, message
            kind text,
            from_user_id uuid,
            at timestamptz,
            -- where its event stands, so that whoever was away can be told of what came since
            stream text,
            stream_sequence bigint,
            PRIMARY KEY (user_id, notification_id)
        );
        CREATE INDEX ON {notifications} (user_id, at DESC, notification_id DESC);
        CREATE INDEX ON {notifications} (user_id, stream, stream_sequence);
        CREATE TABLE {notification_reads} (
            user_id uuid,
            notification_id uuid,
            read_at timestamptz,
            -- in MESSAGING
            stream_sequence bigint,
            PRIMARY KEY (user_id, notification_id)
        );
        CREATE INDEX ON {notification_reads} (user_id, stream_sequence);
    """

    @handles(FriendshipCreated)
    def requested(self, event: Recorded[FriendshipCreated], write: Write) -> None:
        _notify(event, write, event.data.addressee_id, FRIEND_REQUEST, event.data.requester_id)

    @handles(FriendshipAccepted)
    def accepted(self, event: Recorded[FriendshipAccepted], write: Write) -> None:
        _notify(event, write, event.data.requester_id, FRIEND_ACCEPTED, event.data.addressee_id)

    @handles(MessageSent)
    def sent(self, event: Recorded[MessageSent], write: Write) -> None:
        _notify(event, write, event.data.recipient_id, MESSAGE, event.data.sender_id)

    @handles(NotificationRead)
    def read(self, event: Recorded[NotificationRead], write: Write) -> None:
        for notification in event.data.notification_ids:
            write.upsert(
                "notification_reads",
                key={"user_id": event.aggregate_id, "notification_id": notification},
                first={"read_at": event.at, "stream_sequence": event.sequence},
            )


def _notify(event: Recorded[Event], write: Write, user_id: str, kind: str, from_user_id: str) -> None:
    write.upsert(
        "notifications",
        key={"user_id": user_id, "notification_id": notification_id(user_id, event.id)},
        set={
            "kind": kind,
            "from_user_id": from_user_id,
            "at": event.at,
            "stream": event.stream,
            "stream_sequence": event.sequence,
        },
    )
