"""Queries on conversations and messages, all on the read model `conversations`."""

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from contracts.positions import Position
from contracts.subjects import MESSAGING, conversation
from contracts.values.field_types import Id
from projections.engine.read_model import MissingEvents, ReadModel
from services.messaging.message_json import QUOTE

# Cursor of the first page of a newest-first listing: later than everything.
END_OF_TIME = datetime(9999, 1, 1, tzinfo=UTC)
LAST_ID = "ffffffff-ffff-ffff-ffff-ffffffffffff"

# When the recipient of message `m` in conversation `c` saw it: their first mark that covers it, or their first reply.
SEEN_AT = """
    LEAST(
        (SELECT s.seen_at FROM {seen_marks} AS s
         WHERE s.conversation_id = m.conversation_id AND s.sequence >= m.sequence
           AND s.reader_id = CASE WHEN m.sender_id = c.user_id THEN c.peer_id ELSE c.user_id END
         ORDER BY s.sequence LIMIT 1),
        (SELECT r.sent_at FROM {messages} AS r
         WHERE r.conversation_id = m.conversation_id AND r.sequence > m.sequence
           AND r.sender_id = CASE WHEN m.sender_id = c.user_id THEN c.peer_id ELSE c.user_id END
         ORDER BY r.sequence LIMIT 1)
    )
"""


class ConversationsCursor(msgspec.Struct, frozen=True):
    activity_at: datetime
    peer_id: Id
    pinned: bool = False


class Coverage(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a conversation that a read model's result covers, in sequences of MESSAGING."""

    # The read model has read the stream up to here.
    read: int
    # Up to here the rows contain all of the conversation's messages except discarded ones.
    applied: int
    # Number of its events up to `read` that could not be applied yet.
    waiting: int
    discarded: frozenset[int]


class StoredMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message's row."""

    message_id: str
    sequence: int
    sender_id: str
    # As edited by the events that the read model has applied.
    text: str
    sent_at: datetime
    # Of its `message.sent`; None: that could not be applied yet.
    stream_sequence: int | None
    # Of the message that it answers.
    reply_to_sequence: int | None
    deleted: bool | None
    # A `Quote` as JSON; only where the message was looked up by its id.
    quote: str | None = None


class DuplicateLookup(msgspec.Struct, frozen=True):
    """The read model's result for a client_message_id."""

    message: StoredMessage | None
    coverage: Coverage


class MessageIdLookup(msgspec.Struct, frozen=True):
    """The read model's result for a message_id."""

    message: StoredMessage | None
    coverage: Coverage


class MessageCopy(msgspec.Struct, frozen=True, kw_only=True):
    """A message for a report; `text` is empty if it was deleted."""

    message_id: str
    sequence: int
    sender_id: str
    sent_at: datetime
    text: str


class QuotedRow(msgspec.Struct, frozen=True, kw_only=True):
    """A message that another one answers; `text` is empty if it was deleted."""

    message_id: str
    text: str
    deleted: bool


class ClientIdPage(msgspec.Struct, frozen=True):
    """(sender id, client_message_id) pairs of a part of a conversation."""

    ids: list[tuple[str, str]]
    coverage: Coverage


class MuteRow(msgspec.Struct, frozen=True):
    peer_id: str
    muted_until: datetime


class UnreadRow(msgspec.Struct, frozen=True):
    conversations: int
    messages: int


class _ClientIds(msgspec.Struct, frozen=True):
    sender_id: str
    ids: str | None


class MessageQueries:
    def __init__(self, model: ReadModel) -> None:
        self._model = model

    async def wait_for(self, position: Position) -> None:
        await self._model.wait_for(position)

    async def mutes(self, user_id: str, position: Position) -> list[MuteRow]:
        """Returns the user's conversations that are muted now, closed ones too: a mute outlasts the friendship."""
        await self._model.wait_for(position)
        rows, _ = await self._model.select(
            MuteRow,
            """
            SELECT c.peer_id, c.muted_until FROM {conversations} AS c
            WHERE c.user_id = %(user_id)s AND c.muted_until > now()
            """,
            {"user_id": user_id},
        )
        return rows

    async def count_unread(self, user_id: str, position: Position) -> tuple[UnreadRow, Position]:
        """Counts the user's open conversations with unread messages, without muted ones."""
        await self._model.wait_for(position)
        rows, reached = await self._model.select(
            UnreadRow,
            """
            SELECT count(*) AS conversations, COALESCE(sum(c.last_sequence - c.seen_sequence), 0)::bigint AS messages
            FROM {conversations} AS c
            WHERE c.user_id = %(user_id)s AND c.open AND c.last_sequence > c.seen_sequence
              AND NOT COALESCE(c.muted_until > now(), false)
            """,
            {"user_id": user_id},
        )
        return rows[0], reached

    async def by_client_id(self, conversation_id: str, sender_id: str, client_message_id: str) -> DuplicateLookup:
        """Looks up the message with the client_message_id; also returns which part of the conversation is covered."""
        rows, reached, gaps = await self._model.select_with_gaps(
            conversation(conversation_id),
            StoredMessage,
            """
            SELECT message_id, sequence, sender_id, text, sent_at, stream_sequence, reply_to_sequence, deleted
            FROM (
                SELECT * FROM {messages}
                WHERE conversation_id = %(conversation_id)s AND client_message_id = %(client_message_id)s
                -- Or PostgreSQL takes the index that has the order, and looks through all that the sender ever wrote.
                OFFSET 0
            ) AS named
            WHERE sender_id = %(sender_id)s
            ORDER BY sequence LIMIT 1
            """,
            {
                "conversation_id": conversation_id,
                "client_message_id": client_message_id,
                "sender_id": sender_id,
            },
        )
        return DuplicateLookup(rows[0] if rows else None, _coverage(reached, gaps))

    async def by_message_id(self, conversation_id: str, message_id: str) -> MessageIdLookup:
        """Looks up a message of the conversation; also returns which part of the conversation is covered."""
        rows, reached, gaps = await self._model.select_with_gaps(
            conversation(conversation_id),
            StoredMessage,
            f"""
            SELECT m.message_id, m.sequence, m.sender_id, m.text, m.sent_at, m.stream_sequence, m.reply_to_sequence,
                   m.deleted, {QUOTE} AS quote
            FROM {{messages}} AS m
            WHERE m.message_id = %(message_id)s AND m.conversation_id = %(conversation_id)s
            """,  # noqa: S608
            {"conversation_id": conversation_id, "message_id": message_id},
        )
        return MessageIdLookup(rows[0] if rows else None, _coverage(reached, gaps))

    async def copies(self, conversation_id: str, message_ids: Sequence[str]) -> list[MessageCopy]:
        """Returns those of the messages that the conversation has, in its order."""
        rows, _ = await self._model.select(
            MessageCopy,
            """
            SELECT message_id, sequence, sender_id, sent_at, text FROM {messages}
            WHERE message_id = ANY(%(message_ids)s::uuid[]) AND conversation_id = %(conversation_id)s
            ORDER BY sequence
            """,
            {"conversation_id": conversation_id, "message_ids": list(message_ids)},
        )
        return rows

    async def quotes(self, messages: Sequence[tuple[str, int]], position: Position) -> list[QuotedRow]:
        """Returns those of the messages that are there, each named by its conversation and its sequence in that."""
        await self._model.wait_for(position)
        rows, _ = await self._model.select(
            QuotedRow,
            """
            SELECT m.message_id, COALESCE(m.text, '') AS text, COALESCE(m.deleted, false) AS deleted
            FROM unnest(%(conversation_ids)s::uuid[], %(sequences)s::bigint[]) AS q (conversation_id, sequence)
            JOIN {messages} AS m USING (conversation_id, sequence)
            WHERE m.message_id IS NOT NULL
            """,
            {
                "conversation_ids": [conversation_id for conversation_id, _ in messages],
                "sequences": [sequence for _, sequence in messages],
            },
        )
        return rows

    async def client_ids(self, conversation_id: str, after: int, until: int) -> ClientIdPage:
        """Returns the ids of messages with conversation sequences after `after`, up to and including `until`."""
        rows, reached, gaps = await self._model.select_with_gaps(
            conversation(conversation_id),
            _ClientIds,
            """
            SELECT sender_id, string_agg(client_message_id, ' ') AS ids FROM {messages}
            WHERE conversation_id = %(conversation_id)s AND sequence > %(after)s AND sequence <= %(until)s
              AND sender_id IS NOT NULL
            GROUP BY sender_id
            """,
            {"conversation_id": conversation_id, "after": after, "until": until},
        )
        # Ids contain no spaces.
        ids = [(row.sender_id, client_id) for row in rows for client_id in (row.ids or "").split()]
        return ClientIdPage(ids, _coverage(reached, gaps))


def _coverage(reached: Position, gaps: MissingEvents) -> Coverage:
    read = reached.sequence(MESSAGING)
    return Coverage(
        read=read,
        applied=read if gaps.first is None else min(read, gaps.first - 1),
        waiting=gaps.waiting,
        discarded=frozenset(gaps.discarded),
    )
