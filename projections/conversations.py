"""Conversations as each of the two users sees them and has set them, their messages, and the seen marks.

CONTACT alone determines whether and since when a conversation is open, MESSAGING alone determines its messages. So the
two streams may be read in any order. Messages and seen marks change only columns that grow, so a dead letter of theirs
may be applied at any later time. What was done to a message counts, whether its `message.sent` is applied before or
after it: a deleted text never comes back. Changes of one message are applied in their order; until its `message.sent`
or an edit or deletion is applied, the row of a message with a reaction has no `message_id`. A reader's settings are
columns of their own, which each event of theirs sets whole.
"""

from datetime import datetime
from itertools import permutations

from contracts.envelope import Recorded
from contracts.events.event import Event
from contracts.events.friendship import FriendshipAccepted, FriendshipRemoved
from contracts.events.message import (
    ConversationUpdated,
    MessageChange,
    MessageDeleted,
    MessageEdited,
    MessageSeen,
    MessageSent,
    ReactionChanged,
)
from contracts.subjects import AUTH, CONTACT, MESSAGING
from contracts.values.ids import pair_id
from projections.engine import RowChanges, handles
from projections.engine.erasing import ERASED_USERS, ErasingProjection


class Conversations(ErasingProjection):
    version = 5
    streams = (MESSAGING, CONTACT, AUTH)
    tables = (
        """
        CREATE TABLE {conversations} (
            user_id uuid,
            -- the other person
            peer_id uuid,
            conversation_id uuid,
            -- whether the two are friends now
            open boolean NOT NULL DEFAULT false,
            opened_at timestamptz,
            -- of the newest message
            last_sent_at timestamptz,
            -- sort key of the list: the time of the newest message, or of the opening if there is none
            activity_at timestamptz GENERATED ALWAYS AS (COALESCE(last_sent_at, opened_at)) STORED,
            last_sequence bigint NOT NULL DEFAULT 0,
            -- the last sequence that each has seen
            seen_sequence bigint NOT NULL DEFAULT 0,
            peer_seen_sequence bigint NOT NULL DEFAULT 0,
            -- of the last event, in MESSAGING; changes of its messages too
            stream_sequence bigint NOT NULL DEFAULT 0,
            -- the user's settings; `FOREVER` for a mute without an end
            muted_until timestamptz,
            pinned boolean NOT NULL DEFAULT false,
            archived boolean NOT NULL DEFAULT false,
            -- of the last event of the settings, in MESSAGING
            settings_sequence bigint NOT NULL DEFAULT 0,
            PRIMARY KEY (user_id, peer_id)
        );
        CREATE INDEX ON {conversations} (user_id, pinned DESC, activity_at DESC, peer_id DESC) WHERE open;
        CREATE TABLE {messages} (
            conversation_id uuid,
            sequence bigint,
            message_id uuid,
            sender_id uuid,
            -- the current one; empty if the message was deleted
            text text,
            sent_at timestamptz,
            client_message_id text COLLATE "C",
            stream_sequence bigint,
            -- of the message of the same conversation that it answers
            reply_to_sequence bigint,
            -- whether the table of reactions has rows of it
            reacted boolean NOT NULL DEFAULT false,
            -- of the last edit
            edited_at timestamptz,
            -- true or null
            deleted boolean,
            -- of the last edit or the deletion, in MESSAGING
            changed_sequence bigint,
            PRIMARY KEY (conversation_id, sequence)
        );
        -- The ids are ordered by time, so new entries go to the index's right end.
        CREATE INDEX ON {messages} (message_id);
        -- For retention: of the messages that are not deleted, the oldest first.
        CREATE INDEX ON {messages} (message_id) WHERE deleted IS NULL;
        CREATE INDEX ON {messages} (conversation_id, changed_sequence) WHERE changed_sequence IS NOT NULL;
        CREATE INDEX ON {messages} (conversation_id, client_message_id);
        CREATE INDEX ON {messages} (conversation_id, sender_id, sequence);
        CREATE INDEX ON {messages} (conversation_id, stream_sequence);
        -- For analytics: messages are stored in the order of their times, so that BRIN finds a time range quickly.
        CREATE INDEX ON {messages} USING brin (sent_at) WITH (autosummarize = on);
        CREATE TABLE {reactions} (
            conversation_id uuid,
            -- of the message
            sequence bigint,
            user_id uuid,
            -- NULL: no reaction any more
            emoji text,
            stream_sequence bigint,
            PRIMARY KEY (conversation_id, sequence, user_id)
        );
        CREATE INDEX ON {reactions} (conversation_id, stream_sequence);
        CREATE TABLE {seen_marks} (
            conversation_id uuid,
            reader_id uuid,
            sequence bigint,
            seen_at timestamptz,
            stream_sequence bigint,
            PRIMARY KEY (conversation_id, reader_id, sequence)
        );
        """
        + ERASED_USERS
    )
    # Through the user's conversations, since no index begins with the author.
    erasures = (
        """
        UPDATE {messages} SET text = '', deleted = true, edited_at = NULL
        WHERE conversation_id IN (SELECT conversation_id FROM {conversations} WHERE user_id = ANY(%(users)s))
            AND sender_id = ANY(%(users)s) AND deleted IS NOT true
        """,
        """
        UPDATE {reactions} SET emoji = NULL
        WHERE conversation_id IN (SELECT conversation_id FROM {conversations} WHERE user_id = ANY(%(users)s))
            AND user_id = ANY(%(users)s) AND emoji IS NOT NULL
        """,
    )

    @handles(FriendshipAccepted)
    def opened(self, event: Recorded[FriendshipAccepted], write: RowChanges) -> None:
        one, other = event.data.requester_id, event.data.addressee_id
        for user_id, peer_id in ((one, other), (other, one)):
            write.upsert(
                "conversations",
                key={"user_id": user_id, "peer_id": peer_id},
                set={"conversation_id": pair_id(one, other), "open": True},
                greatest={"opened_at": event.at},
            )

    @handles(FriendshipRemoved)
    def closed(self, event: Recorded[FriendshipRemoved], write: RowChanges) -> None:
        one, other = event.data.remover_id, event.data.other_id
        for user_id, peer_id in ((one, other), (other, one)):
            write.upsert(
                "conversations",
                key={"user_id": user_id, "peer_id": peer_id},
                set={"conversation_id": pair_id(one, other), "open": False},
            )

    @handles(MessageSent)
    def sent(self, event: Recorded[MessageSent], write: RowChanges) -> None:
        message = event.data
        write.insert(
            "messages",
            key={"conversation_id": event.aggregate_id, "sequence": message.sequence},
            set={
                "message_id": message.message_id,
                "sender_id": message.sender_id,
                "sent_at": event.at,
                "client_message_id": message.client_message_id,
                "stream_sequence": event.sequence,
                "reply_to_sequence": message.reply_to.sequence if message.reply_to is not None else None,
            },
            # Later texts and the deletion may have been applied already.
            first={"text": message.text} if message.text else _DELETED,
        )
        sender, recipient, sequence = message.sender_id, message.recipient_id, message.sequence
        # Sending a message counts as having seen the earlier ones.
        _reach(event, write, event.aggregate_id, sender, recipient, last=sequence, seen=sequence, sent_at=event.at)
        _reach(event, write, event.aggregate_id, recipient, sender, last=sequence, peer_seen=sequence, sent_at=event.at)

    @handles(MessageEdited)
    def edited(self, event: Recorded[MessageEdited], write: RowChanges) -> None:
        if event.data.text:
            _rewrite(event, write, text=event.data.text, edited_at=event.at)
        else:
            _rewrite(event, write, edited_at=None, **_DELETED)

    @handles(MessageDeleted)
    def deleted(self, event: Recorded[MessageDeleted], write: RowChanges) -> None:
        _rewrite(event, write, edited_at=None, **_DELETED)
        message = event.data
        for user_id in message.members:
            # Events of one message are applied in their order, so the row is there if there is a reaction.
            key = {"conversation_id": message.conversation_id, "sequence": message.sequence, "user_id": user_id}
            write.update("reactions", key=key, set={"emoji": None})

    @handles(ReactionChanged)
    def reacted(self, event: Recorded[ReactionChanged], write: RowChanges) -> None:
        change = event.data
        message = {"conversation_id": change.conversation_id, "sequence": change.sequence}
        write.upsert(
            "reactions",
            key={**message, "user_id": change.user_id},
            set={"emoji": change.emoji or None, "stream_sequence": event.sequence},
        )
        write.upsert("messages", key=message, set={"reacted": True})
        _changed(event, write)

    @handles(MessageSeen)
    def seen(self, event: Recorded[MessageSeen], write: RowChanges) -> None:
        mark = event.data
        write.insert(
            "seen_marks",
            key={
                "conversation_id": mark.conversation_id,
                "reader_id": mark.reader_id,
                "sequence": mark.sequence,
            },
            set={"seen_at": event.at, "stream_sequence": event.sequence},
        )
        _reach(event, write, mark.conversation_id, mark.reader_id, mark.peer_id, seen=mark.sequence)
        _reach(event, write, mark.conversation_id, mark.peer_id, mark.reader_id, peer_seen=mark.sequence)

    @handles(ConversationUpdated)
    def updated(self, event: Recorded[ConversationUpdated], write: RowChanges) -> None:
        settings = event.data
        for peer_id in settings.members:
            if peer_id == settings.user_id:
                continue
            write.upsert(
                "conversations",
                key={"user_id": settings.user_id, "peer_id": peer_id},
                set={
                    "conversation_id": settings.conversation_id,
                    "muted_until": settings.muted_until,
                    "pinned": settings.pinned,
                    "archived": settings.archived,
                    "settings_sequence": event.sequence,
                },
            )


def _reach(
    event: Recorded[Event],
    write: RowChanges,
    conversation_id: str,
    user_id: str,
    peer_id: str,
    *,
    last: int = 0,
    seen: int = 0,
    peer_seen: int = 0,
    sent_at: datetime | None = None,
) -> None:
    """Moves a conversation forward, as one of its users sees it; 0 and None change nothing.

    All columns in every change: the changes of a row in one batch become one, and all rows are one statement.
    """
    write.upsert(
        "conversations",
        key={"user_id": user_id, "peer_id": peer_id},
        set={"conversation_id": conversation_id},
        greatest={
            "stream_sequence": event.sequence,
            "last_sent_at": sent_at,
            "last_sequence": last,
            "seen_sequence": seen,
            "peer_seen_sequence": peer_seen,
        },
    )


# Of a message that was deleted, or whose text was erased.
_DELETED = {"text": "", "deleted": True}


def _rewrite(event: Recorded[MessageEdited] | Recorded[MessageDeleted], write: RowChanges, **values: object) -> None:
    message: MessageChange = event.data
    write.upsert(
        "messages",
        key={"conversation_id": message.conversation_id, "sequence": message.sequence},
        set={"changed_sequence": event.sequence, **values},
        first={"message_id": message.message_id, "sender_id": message.sender_id, "sent_at": message.sent_at},
    )
    _changed(event, write)


def _changed(event: Recorded[MessageChange], write: RowChanges) -> None:
    """Records the change as the conversation's last event, for both members: cached pages become invalid."""
    change = event.data
    for user_id, peer_id in permutations(change.members, 2):
        _reach(event, write, change.conversation_id, user_id, peer_id)
