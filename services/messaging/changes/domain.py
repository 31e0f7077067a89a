"""The message aggregate: what happened to one message after it was sent. Its first event is any of them."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import msgspec

from contracts.errors import EditWindowOver, MessageHasBeenDeleted, NotSender, TooManyChanges
from contracts.events.event import Event
from contracts.events.message import MessageDeleted, MessageEdited, ReactionChanged, RepliedTo

# Bounds of one message's aggregate, which is read as a whole. Apart, so that nobody uses up the sender's edits.
MOST_EDITS = 500
MOST_REACTION_CHANGES = 500


class Reaction(msgspec.Struct, frozen=True):
    """A user's reaction; its field is named as the event's, by which operators' views know what is personal."""

    emoji: str


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """The aggregate's state."""

    # Time of the last edit; None: the message has the text with which it was sent.
    edited_at: datetime | None = None
    # Of the last edit; None: there is none, or its text was erased.
    text: str | None = None
    deleted: bool = False
    # By user id, the earliest first.
    reactions: Mapping[str, Reaction] = {}
    # How often it was edited, and how often its reactions changed.
    edits: int = 0
    reaction_changes: int = 0

    def current_text(self, first: str | None) -> str | None:
        """The message's text now; None if it was erased. `first`: the text with which it was sent."""
        if self.deleted:
            return ""
        return first if self.edited_at is None else self.text

    def users_by_emoji(self) -> dict[str, list[str]]:
        """Returns who reacts with each emoji, both in the order of the reactions."""
        users: dict[str, list[str]] = {}
        for user_id, reaction in self.reactions.items():
            users.setdefault(reaction.emoji, []).append(user_id)
        return users


class OriginalMessage(msgspec.Struct, frozen=True, kw_only=True):
    """The message as it was sent."""

    message_id: str
    conversation_id: str
    sequence: int
    sender_id: str
    sent_at: datetime
    members: tuple[str, ...]
    # Known only while the message was not edited.
    text: str
    reply_to: RepliedTo | None = None


def evolve_message(state: Message, event: Event, at: datetime) -> Message:
    match event:
        case MessageEdited(text=text):
            return msgspec.structs.replace(state, edited_at=at, text=text, edits=state.edits + 1)
        case MessageDeleted():
            return Message(deleted=True)
        case ReactionChanged(user_id=user_id, emoji=emoji):
            reactions = {user: other for user, other in state.reactions.items() if user != user_id}
            if emoji is not None:
                reactions[user_id] = Reaction(emoji)
            return msgspec.structs.replace(state, reactions=reactions, reaction_changes=state.reaction_changes + 1)
    return state


def is_deletion(event: Event) -> bool:
    """Whether the event alone determines the state."""
    return isinstance(event, MessageDeleted)


def decide_edit(
    state: Message, original: OriginalMessage, user_id: str, text: str, at: datetime, window: timedelta
) -> Sequence[Event]:
    """Gives the message another text; no event if it has this text.

    Raises:
        NotSender: the message is another user's.
        MessageHasBeenDeleted: it was deleted.
        EditWindowOver: it was sent longer ago than `window`.
        TooManyChanges: it was edited `MOST_EDITS` times.
    """
    if original.sender_id != user_id:
        raise NotSender
    if state.deleted:
        raise MessageHasBeenDeleted
    if text == state.current_text(original.text):
        return ()
    if at - original.sent_at > window:
        raise EditWindowOver
    if state.edits >= MOST_EDITS:
        raise TooManyChanges
    return (
        MessageEdited(
            message_id=original.message_id,
            conversation_id=original.conversation_id,
            sequence=original.sequence,
            sender_id=original.sender_id,
            sent_at=original.sent_at,
            members=original.members,
            text=text,
            reply_to=original.reply_to,
        ),
    )


def decide_react(state: Message, original: OriginalMessage, user_id: str, emoji: str | None) -> Sequence[Event]:
    """Gives the message the user's reaction, or removes it (None); no event if it has this one.

    A removal is never one too many: without new reactions, each member has at most one to remove.

    Raises:
        MessageHasBeenDeleted: the message was deleted.
        TooManyChanges: its reactions changed `MOST_REACTION_CHANGES` times.
    """
    if state.deleted:
        raise MessageHasBeenDeleted
    present = state.reactions.get(user_id)
    if emoji == (present.emoji if present is not None else None):
        return ()
    if emoji is not None and state.reaction_changes >= MOST_REACTION_CHANGES:
        raise TooManyChanges
    return (
        ReactionChanged(
            message_id=original.message_id,
            conversation_id=original.conversation_id,
            sequence=original.sequence,
            sender_id=original.sender_id,
            sent_at=original.sent_at,
            members=original.members,
            user_id=user_id,
            emoji=emoji,
        ),
    )


def decide_delete(
    state: Message, original: OriginalMessage, user_id: str, at: datetime, window: timedelta | None
) -> Sequence[Event]:
    """Deletes the message; no event if it is deleted.

    Raises:
        NotSender: the message is another user's.
        EditWindowOver: it was sent longer ago than `window`.
    """
    if original.sender_id != user_id:
        raise NotSender
    if state.deleted:
        return ()
    if window is not None and at - original.sent_at > window:
        raise EditWindowOver
    return (
        MessageDeleted(
            message_id=original.message_id,
            conversation_id=original.conversation_id,
            sequence=original.sequence,
            sender_id=original.sender_id,
            sent_at=original.sent_at,
            members=original.members,
        ),
    )


def decide_expire(state: Message, original: OriginalMessage) -> Sequence[Event]:
    """Deletes a message that is older than messages are kept; no event if it is deleted."""
    if state.deleted:
        return ()
    return (
        MessageDeleted(
            message_id=original.message_id,
            conversation_id=original.conversation_id,
            sequence=original.sequence,
            sender_id=original.sender_id,
            sent_at=original.sent_at,
            members=original.members,
            expired=True,
        ),
    )
