"""Aggregates and decisions of messaging: conversations of two users, their read marks, and read notifications."""

from collections.abc import Collection, Sequence
from datetime import datetime

import msgspec

from contracts.errors import ClientMessageIdReused, MessageNotFound, NotFriends
from contracts.events.event import Event
from contracts.events.message import MessageSeen, MessageSent, MessagesRead, NotificationRead, RepliedTo
from contracts.messages import Quote


class Conversation(msgspec.Struct, frozen=True):
    """A conversation's state: only its last sequence, since its subject contains `message.sent` alone."""

    # Of the last message; 0 before the first.
    last_sequence: int = 0


class ReadMark(msgspec.Struct, frozen=True):
    """The last message that one of the two users has seen."""

    sequence: int = 0


class Notifications(msgspec.Struct, frozen=True):
    """An aggregate without state: it only orders the events; what was read is queried from the read model."""


class SendMessage(msgspec.Struct, frozen=True, kw_only=True):
    # Id for the new message.
    message_id: str
    sender_id: str
    recipient_id: str
    text: str
    client_message_id: str
    reply_to: Quote | None = None


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """A message as it was sent."""

    message_id: str
    sequence: int
    sender_id: str
    # None: it was erased, or its event is lost.
    text: str | None
    sent_at: datetime
    # Of its event.
    stream_sequence: int
    # Of the message that it answers.
    reply_to_sequence: int | None = None


def evolve_conversation(state: Conversation, event: Event, at: datetime) -> Conversation:
    return Conversation(event.sequence) if isinstance(event, MessageSent) else state


def evolve_read_mark(state: ReadMark, event: Event, at: datetime) -> ReadMark:
    return ReadMark(max(state.sequence, event.sequence)) if isinstance(event, MessageSeen) else state


def evolve_notifications(state: Notifications, event: Event, at: datetime) -> Notifications:
    return state


def decide_send(state: Conversation, command: SendMessage, used: Sent | None) -> tuple[Event, ...]:
    """Sends the message as the conversation's next; no event if it was sent before.

    `used`: the sender's earlier message with the same client_message_id in this conversation.

    Raises:
        NotFriends: sender and recipient are the same person.
    """
    if command.sender_id == command.recipient_id:
        raise NotFriends
    if used is not None:
        return ()
    return (
        MessageSent(
            message_id=command.message_id,
            sender_id=command.sender_id,
            recipient_id=command.recipient_id,
            sequence=state.last_sequence + 1,
            text=command.text,
            client_message_id=command.client_message_id,
            reply_to=_replied_to(command.reply_to) if command.reply_to is not None else None,
        ),
    )


def check_repeat(command: SendMessage, used: Sent, *, deleted: bool) -> None:
    """
    Raises:
        ClientMessageIdReused: the earlier message with the command's client_message_id was sent with another text or as
            a reply to another message. What was deleted or erased is not compared.
    """
    if deleted or used.text is None:
        return
    answered = command.reply_to.sequence if command.reply_to is not None else None
    if (used.text, used.reply_to_sequence) != (command.text, answered):
        raise ClientMessageIdReused


def _replied_to(quote: Quote) -> RepliedTo:
    return RepliedTo(message_id=quote.message_id, sequence=quote.sequence, sender_id=quote.sender_id)


def check_seen(sequence: int, last_sequence: int) -> None:
    """
    Raises:
        MessageNotFound: the conversation has no message of that sequence.
    """
    if not 1 <= sequence <= last_sequence:
        raise MessageNotFound


def decide_seen(
    state: ReadMark, *, conversation_id: str, reader_id: str, peer_id: str, sequence: int
) -> tuple[Event, ...]:
    """Moves the mark forward; no event if it is already there or further."""
    if sequence <= state.sequence:
        return ()
    return (MessageSeen(conversation_id=conversation_id, reader_id=reader_id, peer_id=peer_id, sequence=sequence),)


def decide_read(
    requested: Sequence[str], unread: Collection[str], messages: tuple[MessagesRead, ...] = ()
) -> tuple[Event, ...]:
    """Marks the unread ones as read, each once and in the requested order; no event if there are none.

    `messages`: those to mark with the ones of all earlier messages, beside the requested.
    """
    ids = tuple(dict.fromkeys(notification_id for notification_id in requested if notification_id in unread))
    return (NotificationRead(notification_ids=ids, messages=messages),) if ids or messages else ()


def decide_read_through(notification_id: str, at: datetime | None) -> tuple[Event, ...]:
    """Marks the notification, created `at` that time, and all listed below it as read; no event without a time."""
    return (NotificationRead(notification_ids=(notification_id,), up_to=at),) if at else ()


def sent(event: MessageSent, at: datetime, stream_sequence: int) -> Sent:
    """Builds the stored message from its event."""
    return Sent(
        message_id=event.message_id,
        sequence=event.sequence,
        sender_id=event.sender_id,
        # Empty: it was erased.
        text=event.text or None,
        sent_at=at,
        stream_sequence=stream_sequence,
        reply_to_sequence=event.reply_to.sequence if event.reply_to is not None else None,
    )
