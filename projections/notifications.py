"""Each user's notifications: friend requests and what became of them, messages and alerts about the account.

Read marks have their own tables, since a mark and its notification may come from different streams, in any order.
A notification is read when its id was marked, when it is at or below one up to which all were marked, or when its
message was seen in the conversation or deleted. Those of muted conversations are not counted.
"""

from contracts.envelope import Recorded
from contracts.events.event import Event
from contracts.events.friendship import FriendshipAccepted, FriendshipCreated, FriendshipRemoved
from contracts.events.message import (
    ConversationUpdated,
    MessageDeleted,
    MessageSeen,
    MessageSent,
    NotificationRead,
)
from contracts.events.session import AccountAlerted
from contracts.notification_kinds import FRIEND_ACCEPTED, FRIEND_EXPIRED, FRIEND_REMINDER, FRIEND_REQUEST, MESSAGE
from contracts.subjects import CONTACT, MESSAGING, SESSION
from contracts.values.ids import notification_id
from projections.engine import Projection, RowChanges, handles


class Notifications(Projection):
    version = 6
    streams = (MESSAGING, CONTACT, SESSION)
    # Live clients receive notifications from the streams; a reader of the list waits for the position it has seen.
    rest_seconds = 0.1
    tables = """
        CREATE TABLE {notifications} (
            user_id uuid,
            notification_id uuid,
            -- friend_request, friend_reminder, friend_expired, friend_accepted, message, or the kind of an alert
            kind text,
            -- of an alert: the user
            from_user_id uuid,
            at timestamptz,
            -- of the message within its conversation; null for the other kinds
            sequence bigint,
            -- stream and sequence of its event, for the backfill of clients that reconnect
            stream text,
            stream_sequence bigint,
            PRIMARY KEY (user_id, notification_id)
        );
        -- Covers the columns that decide whether one was seen: unread ones are counted by an index-only scan.
        CREATE INDEX ON {notifications} (user_id, at DESC, notification_id DESC) INCLUDE (from_user_id, sequence);
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
        -- Notifications that were marked as read together with all below them in the list.
        CREATE TABLE {read_through} (
            user_id uuid,
            notification_id uuid,
            -- of the notification
            at timestamptz,
            -- in MESSAGING
            stream_sequence bigint,
            PRIMARY KEY (user_id, notification_id)
        );
        -- How far each user has seen the messages of each other person.
        CREATE TABLE {seen_messages} (
            user_id uuid,
            from_user_id uuid,
            sequence bigint,
            PRIMARY KEY (user_id, from_user_id)
        );
        -- Up to which message of another person a user last marked notifications as read together.
        CREATE TABLE {conversation_reads} (
            user_id uuid,
            from_user_id uuid,
            notification_id uuid,
            -- in MESSAGING
            stream_sequence bigint,
            PRIMARY KEY (user_id, from_user_id)
        );
        CREATE TABLE {deleted_messages} (
            user_id uuid,
            from_user_id uuid,
            sequence bigint,
            PRIMARY KEY (user_id, from_user_id, sequence)
        );
        -- Until when messages of another person notify a user of nothing that wants attention.
        CREATE TABLE {mutes} (
            user_id uuid,
            from_user_id uuid,
            muted_until timestamptz,
            PRIMARY KEY (user_id, from_user_id)
        );
    """

    @handles(FriendshipCreated)
    def requested(self, event: Recorded[FriendshipCreated], write: RowChanges) -> None:
        if event.data.addressee_id not in event.data.blocked_by:
            kind = FRIEND_REMINDER if event.data.is_reminder else FRIEND_REQUEST
            _notify(event, write, event.data.addressee_id, kind, event.data.requester_id)

    @handles(FriendshipRemoved)
    def removed(self, event: Recorded[FriendshipRemoved], write: RowChanges) -> None:
        if event.data.expired:
            _notify(event, write, event.data.remover_id, FRIEND_EXPIRED, event.data.other_id)

    @handles(FriendshipAccepted)
    def accepted(self, event: Recorded[FriendshipAccepted], write: RowChanges) -> None:
        _notify(event, write, event.data.requester_id, FRIEND_ACCEPTED, event.data.addressee_id)

    @handles(AccountAlerted)
    def alerted(self, event: Recorded[AccountAlerted], write: RowChanges) -> None:
        _notify(event, write, event.data.user_id, event.data.kind, event.data.user_id)

    @handles(MessageSent)
    def sent(self, event: Recorded[MessageSent], write: RowChanges) -> None:
        message = event.data
        _notify(event, write, message.recipient_id, MESSAGE, message.sender_id, message.sequence)
        # Sending a message counts as having seen the earlier ones.
        _see(write, message.sender_id, message.recipient_id, message.sequence)

    @handles(MessageSeen)
    def seen(self, event: Recorded[MessageSeen], write: RowChanges) -> None:
        _see(write, event.data.reader_id, event.data.peer_id, event.data.sequence)

    @handles(MessageDeleted)
    def deleted(self, event: Recorded[MessageDeleted], write: RowChanges) -> None:
        message = event.data
        for user_id in message.members:
            if user_id != message.sender_id:
                key = {"user_id": user_id, "from_user_id": message.sender_id, "sequence": message.sequence}
                write.upsert("deleted_messages", key=key)

    @handles(ConversationUpdated)
    def updated(self, event: Recorded[ConversationUpdated], write: RowChanges) -> None:
        settings = event.data
        for from_user_id in settings.members:
            if from_user_id != settings.user_id:
                key = {"user_id": settings.user_id, "from_user_id": from_user_id}
                write.upsert("mutes", key=key, set={"muted_until": settings.muted_until})

    @handles(NotificationRead)
    def read(self, event: Recorded[NotificationRead], write: RowChanges) -> None:
        if (up_to := event.data.up_to) is not None:
            write.upsert(
                "read_through",
                key={"user_id": event.aggregate_id, "notification_id": event.data.notification_ids[0]},
                first={"at": up_to, "stream_sequence": event.sequence},
            )
            return
        for mark in event.data.messages:
            _see(write, event.aggregate_id, mark.from_user_id, mark.sequence)
            write.upsert(
                "conversation_reads",
                key={"user_id": event.aggregate_id, "from_user_id": mark.from_user_id},
                set={"notification_id": mark.notification_id, "stream_sequence": event.sequence},
            )
        for notification in event.data.notification_ids:
            write.upsert(
                "notification_reads",
                key={"user_id": event.aggregate_id, "notification_id": notification},
                first={"read_at": event.at, "stream_sequence": event.sequence},
            )


def _see(write: RowChanges, user_id: str, from_user_id: str, sequence: int) -> None:
    key = {"user_id": user_id, "from_user_id": from_user_id}
    write.upsert("seen_messages", key=key, greatest={"sequence": sequence})


def _notify(
    event: Recorded[Event], write: RowChanges, user_id: str, kind: str, from_user_id: str, sequence: int | None = None
) -> None:
    write.insert(
        "notifications",
        key={"user_id": user_id, "notification_id": notification_id(user_id, event.id)},
        set={
            "kind": kind,
            "from_user_id": from_user_id,
            "at": event.at,
            "sequence": sequence,
            "stream": event.stream,
            "stream_sequence": event.sequence,
        },
    )
