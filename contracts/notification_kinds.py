"""Payloads that clients receive live: the data of each event but messages, and notifications.

Messages are in contracts/messages.py. A notification is not an event of a stream.

The gateway encodes live events with these structs; the owning services encode the events that a client missed.

One notification is recorded for every event that a user is notified of (projections/notifications.py). Its id is
derived from the event, so a reader of the stream can send the notification without a lookup.
"""

from datetime import datetime, timedelta
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from contracts.events.message import FOREVER
from contracts.messages import MutedUntil
from contracts.subjects import CONTACT, MESSAGING, SESSION
from contracts.values.field_types import Id
from contracts.values.timestamps import Rfc3339, rfc3339

NOTIFICATION_CREATED = "notification.created"
NOTIFICATION_READ = "notification.read"
# Neither events of a stream nor derived from one: sent from gateway to gateway, and stored nowhere.
TYPING = "typing"
PRESENCE = "presence"

BLOCK_CHANGED = "block.changed"

FRIEND_REQUEST = "friend_request"
FRIEND_ACCEPTED = "friend_accepted"
FRIEND_REMINDER = "friend_reminder"
FRIEND_EXPIRED = "friend_expired"
MESSAGE = "message"

# Kinds of alerts: what the owner of an account is notified of, in the list of notifications and by mail.
NEW_DEVICE = "new_device"
PASSWORD_CHANGED = "password_changed"  # noqa: S105  # a kind, not a password
PASSWORD_RESET = "password_reset"  # noqa: S105  # a kind, not a password
EMAIL_CHANGED = "email_changed"
REFRESH_TOKEN_REUSED = "refresh_token_reused"  # noqa: S105  # a kind, not a token
TWO_FACTOR_ON = "two_factor_on"
TWO_FACTOR_OFF = "two_factor_off"
DATA_EXPORT = "data_export"
ERASURE_REQUESTED = "erasure_requested"
ALERT_KINDS = (
    NEW_DEVICE,
    PASSWORD_CHANGED,
    PASSWORD_RESET,
    EMAIL_CHANGED,
    REFRESH_TOKEN_REUSED,
    TWO_FACTOR_ON,
    TWO_FACTOR_OFF,
    DATA_EXPORT,
    ERASURE_REQUESTED,
)
# An older event causes no alert: after an import, or a long outage, its owner knows or cannot act any more.
ALERT_MAX_AGE = timedelta(days=3)
# Alerts of one kind about one account, by mail and as notifications; the next one waits and covers those in between.
ALERTS_AN_HOUR = 3

# How far a client has received the notifications derived from each stream. They have their own entries in a position,
# since an event and its notification reach a client one after the other.
NOTIFIED_CONTACT = "CONTACT notifications"
NOTIFIED_MESSAGING = "MESSAGING notifications"
NOTIFIED_SESSION = "SESSION notifications"
# The stream that each of them is derived from, whose sequences it uses.
NOTIFICATION_CHANNELS = {NOTIFIED_SESSION: SESSION, NOTIFIED_CONTACT: CONTACT, NOTIFIED_MESSAGING: MESSAGING}


def stream_of(channel: str) -> str:
    """The stream whose sequences the channel's entry in a position uses."""
    return NOTIFICATION_CHANNELS.get(channel, channel)


class LiveSeen(msgspec.Struct, frozen=True):
    """`message.seen`."""

    conversation_id: Id
    user_id: Annotated[Id, Meta(description="Who has seen.")]
    sequence: Annotated[int, Meta(description="All messages up to this sequence were seen.")]
    seen_at: Rfc3339


def muted_until(moment: datetime | None, at: datetime) -> MutedUntil | UnsetType:
    """The member `muted_until` of a conversation muted until `moment`; unset if that is over at the time `at`."""
    if moment is None or moment <= at:
        return UNSET
    return "forever" if moment >= FOREVER else rfc3339(moment)


class LiveConversation(msgspec.Struct, frozen=True, kw_only=True):
    """`conversation.updated`, for the devices of the reader: either their settings or a draft.

    With `draft` it is ephemeral, and the settings are left out: a draft is no event of a stream.
    """

    user_id: Annotated[Id, Meta(description="The other person.")]
    conversation_id: Id
    muted_until: MutedUntil | UnsetType = UNSET
    pinned: Annotated[bool, Meta(description="Left out with `draft`.")] | UnsetType = UNSET
    archived: Annotated[bool, Meta(description="Left out with `draft`.")] | UnsetType = UNSET
    draft: (
        Annotated[
            str,
            Meta(
                description=(
                    "A draft that was saved just now, empty if it was removed; such an event has no position and is "
                    "not sent again. Left out if the settings were changed."
                )
            ),
        ]
        | UnsetType
    ) = UNSET


class LiveFriendship(msgspec.Struct, frozen=True):
    """`friendship.created`, `friendship.accepted`, `friendship.removed`, as one of the two receives them."""

    user_id: Annotated[Id, Meta(description="The other person.")]
    state: Annotated[str, Meta(extra_json_schema={"enum": ["outgoing", "incoming", "accepted", "removed"]})]
    at: Rfc3339


class LiveBlock(msgspec.Struct, frozen=True):
    """`block.changed`, for the devices of the one who blocks."""

    user_id: Annotated[Id, Meta(description="The other person.")]
    blocked: Annotated[bool, Meta(description="false: the block has ended.")]
    at: Rfc3339


class LiveSessionEnd(msgspec.Struct, frozen=True):
    """`session.revoked`; the last event of the session's own stream."""

    session_id: Id
    reason: Annotated[str, Meta(description="`expired` if it expired; more may be added.")]


class LiveTyping(msgspec.Struct, frozen=True):
    """`typing`; it holds for 6 seconds, unless a message of that user arrives before."""

    user_id: Annotated[Id, Meta(description="The friend who is writing to this user.")]


class LivePresence(msgspec.Struct, frozen=True):
    """`presence`, and an item of `GET /v1/presence`."""

    user_id: Id
    online: Annotated[bool, Meta(description="Whether the friend has an open live connection.")]
    last_seen_at: (
        Annotated[Rfc3339, Meta(description="When the friend was last online; left out if unknown, or online now.")]
        | UnsetType
    ) = UNSET


NotificationKind = Annotated[
    str,
    Meta(
        description=(
            "`friend_request`, `friend_accepted`, `friend_reminder` (of a request that waits for this user's answer), "
            "`friend_expired` (this user's request was not answered and is cancelled), `message`; of the account: "
            "`new_device` (a login from one), `password_changed`, `password_reset`, `email_changed`, "
            "`refresh_token_reused`, `two_factor_on`, "
            "`two_factor_off`, `data_export` (a copy of all their data was requested), `erasure_requested` (the "
            "account is to be erased); more may be added."
        )
    ),
]
NotificationFrom = Annotated[Id, Meta(description="Who caused it; of the account itself: the user themselves.")]


class LiveNotification(msgspec.Struct, frozen=True):
    """`notification.created`."""

    notification_id: Id
    kind: NotificationKind
    from_user_id: NotificationFrom
    at: Rfc3339
    read: bool = False


class LiveNotificationsRead(msgspec.Struct, frozen=True):
    """`notification.read`."""

    notification_ids: tuple[Id, ...]
    up_to: Annotated[Id, Meta(description="This one was read, and all below it in the list.")] | UnsetType = UNSET
    from_user_ids: (
        Annotated[
            tuple[Id, ...],
            Meta(description="Of each of these people: the notifications of all earlier messages were read, too."),
        ]
        | UnsetType
    ) = UNSET
