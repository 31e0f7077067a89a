"""A message as JSON for clients: in lists, live, and in the answer to a send. The one place that says its members.

A member that every shape has goes into `MessageContent`. Messaging's queries build the JSON from these structs
(services/messaging/message_json.py); the gateway passes it on unchanged, and encodes live events with them.
"""

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from contracts.values.field_types import Id
from contracts.values.timestamps import Rfc3339

MutedUntil = Annotated[
    str,
    Meta(
        description="RFC 3339, UTC, with milliseconds, or `forever`; left out unless it is muted.",
        examples=["2026-01-31T12:00:00.000Z", "forever"],
    ),
]


class Quote(msgspec.Struct, frozen=True, kw_only=True):
    """The message that a reply answers."""

    message_id: Id
    sequence: int
    sender_id: Id
    text: (
        Annotated[
            str,
            Meta(description="As it is now. Left out of a live event that cannot learn it within half a second."),
        ]
        | UnsetType
    ) = UNSET
    deleted: Annotated[bool, Meta(description="true if it was deleted; its text is then empty.")] | UnsetType = UNSET


class Reaction(msgspec.Struct, frozen=True):
    """The members who react to a message with one emoji."""

    emoji: str
    user_ids: Annotated[list[Id], Meta(description="Who reacted first comes first.")]


class MessageContent(msgspec.Struct, frozen=True, kw_only=True):
    sequence: Annotated[int, Meta(description="1, 2, 3, … within the conversation, without a gap.")]
    sender_id: Id
    text: str
    sent_at: Rfc3339
    edited_at: Annotated[Rfc3339, Meta(description="Of the last edit; left out if there is none.")] | UnsetType = UNSET
    deleted: Annotated[bool, Meta(description="true if it was deleted; its text is then empty.")] | UnsetType = UNSET
    reply_to: Annotated[Quote, Meta(description="Left out where the message is no reply.")] | UnsetType = UNSET


# Keyword-only in classes of their own: the members of JSON are in the order of the fields, and these come last.
class _ReactedContent(MessageContent, frozen=True, kw_only=True):
    reactions: (
        Annotated[list[Reaction], Meta(description="The earliest emoji first; left out where nobody reacts.")]
        | UnsetType
    ) = UNSET


class _ReadContent(_ReactedContent, frozen=True, kw_only=True):
    seen_at: (
        Annotated[Rfc3339, Meta(description="When the recipient saw it; left out while it has not.")] | UnsetType
    ) = UNSET


class SentMessage(_ReactedContent, frozen=True):
    message_id: Id
    conversation_id: Id


class MessageItem(_ReadContent, frozen=True):
    message_id: Id


class LiveMessage(MessageContent, frozen=True):
    """`message.sent`, `message.edited`, `message.deleted`, as one of the two receives it."""

    message_id: Id
    conversation_id: Id
    user_id: Annotated[Id, Meta(description="The other person.")]


class LiveReaction(msgspec.Struct, frozen=True):
    """`reaction.changed`, as one of the two receives it."""

    user_id: Annotated[Id, Meta(description="The other person.")]
    message_id: Id
    conversation_id: Id
    sequence: Annotated[int, Meta(description="Of the message.")]
    sender_id: Annotated[Id, Meta(description="Who reacts.")]
    emoji: Annotated[str | None, Meta(description="null: no reaction any more.")]


class ConversationItem(msgspec.Struct, frozen=True, kw_only=True):
    user_id: Annotated[Id, Meta(description="The other person.")]
    conversation_id: Id
    last_message: Annotated[MessageItem | None, Meta(description="null before the first message.")]
    unread_count: int
    seen_sequence: Annotated[int, Meta(description="How far you have seen.")]
    peer_seen_sequence: Annotated[int, Meta(description="How far the other has seen.")]
    muted_until: MutedUntil | UnsetType = UNSET
    pinned: bool
    archived: bool
    # Not in the read model: added to the JSON of the others.
    draft: Annotated[str, Meta(description="What you have begun to write; left out if nothing.")] | UnsetType = UNSET


class FoundMessage(msgspec.Struct, frozen=True):
    """A message that a search found."""

    user_id: Annotated[Id, Meta(description="The other person of its conversation.")]
    message: MessageItem
    highlights: Annotated[
        list[tuple[int, int]],
        Meta(
            description=(
                "What was found in the text, in order and without overlaps: `[begin, end]`, counted from 0 in Unicode "
                "code points (not in UTF-16 units), the end exclusive."
            )
        ),
    ]
