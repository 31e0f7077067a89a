"""Events of a conversation: messages sent and seen, notifications read."""

from typing import ClassVar

import msgspec

from contracts.events.event import Event, Moment
from contracts.values.personal_data import Personal


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


class MessageSeen(Event, frozen=True, kw_only=True):
    """On the subject of one reader in one conversation: all messages up to `sequence` were seen."""

    TYPE: ClassVar[str] = "message.seen"
    conversation_id: str
    # The reader, and the sender of the messages.
    reader_id: str
    peer_id: str
    sequence: int


class NotificationRead(Event, frozen=True, kw_only=True):
    """On the subject of a user's notifications."""

    TYPE: ClassVar[str] = "notification.read"
    notification_ids: tuple[str, ...]
    # The time of the single notification named. It was read with all those listed below it: older, or of the same time
    # with a lower id.
    up_to: Moment | None = None
