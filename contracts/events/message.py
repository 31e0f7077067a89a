"""Events of a conversation: messages sent, changed and seen, notifications read, a reader's settings."""

from datetime import UTC, datetime
from typing import ClassVar

import msgspec

from contracts.events.event import Event, Moment
from contracts.values.personal_data import Personal

# The end of a mute that has none.
FOREVER = datetime(9999, 12, 31, tzinfo=UTC)


class RepliedTo(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The message that another one answers. Its text is not kept here, so that it goes with its deletion."""

    message_id: str
    # In the same conversation.
    sequence: int
    sender_id: str


class MessageSent(Event, frozen=True, kw_only=True):
    """On the conversation's subject, which has only these events: the last one determines the next `sequence`."""

    TYPE: ClassVar[str] = "message.sent"
    message_id: str
    sender_id: str
    recipient_id: str
    # 1, 2, 3, … within the conversation; equal to the envelope's `version`.
    sequence: int
    text: Personal[str]
    # The sender's id of the message; a repeat with the same id has no effect.
    client_message_id: str
    reply_to: RepliedTo | None = None


class MessageChange(Event, frozen=True, kw_only=True):
    """Base of the events on a message's own subject: what happens to it after it was sent.

    They repeat what `message.sent` says of the message, so that a reader needs no look-up, and may apply them first.
    """

    message_id: str
    conversation_id: str
    # Of the message within the conversation.
    sequence: int
    sender_id: str
    sent_at: Moment
    # Who could read the conversation at that time; at most two.
    members: tuple[str, ...]


class MessageEdited(MessageChange, frozen=True, kw_only=True):
    """By the sender: the message has another text. Earlier texts stay in earlier events."""

    TYPE: ClassVar[str] = "message.edited"
    text: Personal[str]
    # As in `message.sent`.
    reply_to: RepliedTo | None = None


class MessageDeleted(MessageChange, frozen=True, kw_only=True):
    """By the sender: the message keeps its place and sequence, and has no text. No edit or reaction follows."""

    TYPE: ClassVar[str] = "message.deleted"
    # By the system instead: the message was older than messages are kept.
    expired: bool = False


class ReactionChanged(MessageChange, frozen=True, kw_only=True):
    """A member reacted to the message, or removed their reaction. A new reaction replaces the member's earlier one."""

    TYPE: ClassVar[str] = "reaction.changed"
    # Who reacts.
    user_id: str
    # One grapheme; None: the reaction was removed.
    emoji: Personal[str] | None = None


class MessageSeen(Event, frozen=True, kw_only=True):
    """On the subject of one reader in one conversation: all messages up to `sequence` were seen."""

    TYPE: ClassVar[str] = "message.seen"
    conversation_id: str
    # The reader, and the sender of the messages.
    reader_id: str
    peer_id: str
    sequence: int


class MessagesRead(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The notification of a message, read with those of all earlier messages from the same person."""

    notification_id: str
    from_user_id: str
    # Of the message, within its conversation.
    sequence: int


class NotificationRead(Event, frozen=True, kw_only=True):
    """On the subject of a user's notifications: the user read some, singly or by conversation."""

    TYPE: ClassVar[str] = "notification.read"
    notification_ids: tuple[str, ...]
    # The time of the single notification named. It was read with all those listed below it: older, or of the same time
    # with a lower id.
    up_to: Moment | None = None
    # Read by conversation; not among the ids above.
    messages: tuple[MessagesRead, ...] = ()


class ConversationUpdated(Event, frozen=True, kw_only=True):
    """On the subject of one reader's settings of one conversation; the last event contains the whole state."""

    TYPE: ClassVar[str] = "conversation.updated"
    conversation_id: str
    # The reader whose settings these are.
    user_id: str
    # Everyone who could read the conversation then.
    members: tuple[str, ...]
    # `FOREVER` for a mute without an end; None: not muted.
    muted_until: Moment | None = None
    pinned: bool = False
    archived: bool = False
