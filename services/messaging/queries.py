"""Queries on conversations and messages, all on the read model `conversations`."""

from datetime import UTC, datetime

import msgspec

from contracts.errors import NotFriends
from contracts.positions import Position
from contracts.subjects import MESSAGING, conversation
from contracts.values.field_types import Id
from projections.engine.read_model import MissingEvents, ReadModel
from services.messaging.domain import Sent

# Cursor of the first page of a newest-first listing: later than everything.
END_OF_TIME = datetime(9999, 1, 1, tzinfo=UTC)
LAST_ID = "ffffffff-ffff-ffff-ffff-ffffffffffff"
_LAST_SEQUENCE = 2**63 - 1

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


class MessageRow(msgspec.Struct, frozen=True):
    conversation_id: str
    sequence: int
    message_id: str
    sender_id: str
    text: str
    sent_at: datetime
    seen_at: datetime | None


class ConversationRow(msgspec.Struct, frozen=True, kw_only=True):
    peer_id: str
    conversation_id: str
    activity_at: datetime
    last_sequence: int
    seen_sequence: int
    peer_seen_sequence: int
    # Of the last message; None before the first.
    message_id: str | None
    sender_id: str | None
    text: str | None
    sent_at: datetime | None
    seen_at: datetime | None


class ConversationsCursor(msgspec.Struct, frozen=True):
    activity_at: datetime
    peer_id: Id


class SentRow(msgspec.Struct, frozen=True):
    """A missed message, for backfill."""

    message_id: str
    conversation_id: str
    peer_id: str
    sequence: int
    sender_id: str
    text: str
    sent_at: datetime
    stream_sequence: int


class SeenRow(msgspec.Struct, frozen=True):
    """A reader's latest mark, for backfill."""

    conversation_id: str
    reader_id: str
    sequence: int
    seen_at: datetime
    stream_sequence: int


class Coverage(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a conversation that a read model's result covers, in sequences of MESSAGING."""

    # The read model has read the stream up to here.
    read: int
    # Up to here the rows contain all of the conversation's messages except discarded ones.
    applied: int
    # Number of its events up to `read` that could not be applied yet.
    waiting: int
    discarded: frozenset[int]


class DuplicateLookup(msgspec.Struct, frozen=True):
    """The read model's result for a client_message_id."""

    found: Sent | None
    seen: Coverage


class ClientIdPage(msgspec.Struct, frozen=True):
    """(sender id, client_message_id) pairs of a part of a conversation."""

    ids: list[tuple[str, str]]
    seen: Coverage


class _ClientIds(msgspec.Struct, frozen=True):
    sender_id: str
    ids: str | None


class MessageQueries:
    def __init__(self, model: ReadModel) -> None:
        self._model = model

    async def wait_for(self, position: Position) -> None:
        await self._model.wait_for(position)

    async def by_client_id(self, conversation_id: str, sender_id: str, client_message_id: str) -> DuplicateLookup:
        """Looks up the message with the client_message_id; also returns which part of the conversation is covered."""
        rows, reached, gaps = await self._model.select_with_gaps(
            conversation(conversation_id),
            Sent,
            """
            SELECT message_id, sequence, sender_id, text, sent_at, stream_sequence
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
        return DuplicateLookup(rows[0] if rows else None, _seen(reached, gaps))

    async def client_ids(self, conversation_id: str, after: int, until: int) -> ClientIdPage:
        """Returns the ids of messages with conversation sequences after `after`, up to and including `until`."""
        rows, reached, gaps = await self._model.select_with_gaps(
            conversation(conversation_id),
            _ClientIds,
            """
            SELECT sender_id, string_agg(client_message_id, ' ') AS ids FROM {messages}
            WHERE conversation_id = %(conversation_id)s AND sequence > %(after)s AND sequence <= %(until)s
            GROUP BY sender_id
            """,
            {"conversation_id": conversation_id, "after": after, "until": until},
        )
        # Ids contain no spaces.
        ids = [(row.sender_id, each) for row in rows for each in (row.ids or "").split()]
        return ClientIdPage(ids, _seen(reached, gaps))

    async def messages(
        self,
        user_id: str,
        peer_id: str,
        position: Position,
        *,
        before: int | None,
        after: int | None,
        limit: int,
    ) -> tuple[list[MessageRow], bool, Position]:
        """Returns a page, newest first below `before` or oldest first above `after`, and whether there are more.

        Raises:
            NotFriends: the conversation is closed to the user.
        """
        await self._model.wait_for(position)
        which, order = ("m.sequence < %(bound)s", "DESC") if after is None else ("m.sequence > %(bound)s", "ASC")
        bound = after if after is not None else _LAST_SEQUENCE if before is None else before
        rows, reached = await self._model.select(
            _PageRow,
            f"""
            SELECT c.open, m.conversation_id, m.sequence, m.message_id, m.sender_id, m.text, m.sent_at,
                   {SEEN_AT} AS seen_at
            FROM {{conversations}} AS c LEFT JOIN LATERAL (
                SELECT * FROM {{messages}} AS m
                WHERE m.conversation_id = c.conversation_id AND c.open AND {which}
                ORDER BY m.sequence {order} LIMIT %(limit)s
            ) AS m ON true
            WHERE c.user_id = %(user_id)s AND c.peer_id = %(peer_id)s
            ORDER BY m.sequence {order}
            """,  # noqa: S608
            {"user_id": user_id, "peer_id": peer_id, "bound": bound, "limit": limit + 1},
        )
        if not rows or not rows[0].open:
            raise NotFriends
        found = [row.message() for row in rows if row.sequence is not None]
        return found[:limit], len(found) > limit, reached

    async def conversations(
        self, user_id: str, position: Position, *, limit: int, after: ConversationsCursor | None
    ) -> tuple[list[ConversationRow], ConversationsCursor | None, Position]:
        """Returns a page of the user's open conversations, latest activity first."""
        await self._model.wait_for(position)
        rows, reached = await self._model.select(
            ConversationRow,
            f"""
            SELECT c.peer_id, c.conversation_id, c.activity_at, c.last_sequence, c.seen_sequence,
                   c.peer_seen_sequence, m.message_id, m.sender_id, m.text, m.sent_at, {SEEN_AT} AS seen_at
            FROM (
                SELECT * FROM {{conversations}}
                WHERE user_id = %(user_id)s AND open
                  AND (activity_at, peer_id) < (%(activity_at)s, %(peer_id)s::uuid)
                ORDER BY activity_at DESC, peer_id DESC LIMIT %(limit)s
            ) AS c
            LEFT JOIN {{messages}} AS m
              ON m.conversation_id = c.conversation_id AND m.sequence = c.last_sequence
            ORDER BY c.activity_at DESC, c.peer_id DESC
            """,  # noqa: S608
            {
                "user_id": user_id,
                "activity_at": after.activity_at if after else END_OF_TIME,
                "peer_id": after.peer_id if after else LAST_ID,
                "limit": limit + 1,
            },
        )
        page = rows[:limit]
        more = ConversationsCursor(page[-1].activity_at, page[-1].peer_id) if len(rows) > limit else None
        return page, more, reached

    async def sent_since(self, user_id: str, after: int, limit: int, most_bytes: int) -> list[SentRow]:
        """Returns messages of the user's open conversations after the stream sequence, oldest first.

        Ends with the message with which the texts reach `most_bytes`.
        """
        rows, _ = await self._model.select(
            SentRow,
            """
            SELECT message_id, conversation_id, peer_id, sequence, sender_id, text, sent_at, stream_sequence FROM (
                SELECT *, sum(octet_length(text)) OVER (ORDER BY stream_sequence) - octet_length(text) AS before FROM (
                    SELECT m.message_id, m.conversation_id, c.peer_id, m.sequence, m.sender_id, m.text, m.sent_at,
                           m.stream_sequence
                    FROM {conversations} AS c CROSS JOIN LATERAL (
                        SELECT * FROM {messages} AS m
                        WHERE m.conversation_id = c.conversation_id AND m.stream_sequence > %(after)s
                        ORDER BY m.stream_sequence LIMIT %(limit)s
                    ) AS m
                    WHERE c.user_id = %(user_id)s AND c.open AND c.stream_sequence > %(after)s
                    ORDER BY m.stream_sequence LIMIT %(limit)s
                ) AS missed
            ) AS counted
            WHERE before < %(most_bytes)s
            ORDER BY stream_sequence
            """,
            {"user_id": user_id, "after": after, "limit": limit, "most_bytes": most_bytes},
        )
        return rows

    async def seen_since(self, user_id: str, after: int) -> list[SeenRow]:
        """Returns the latest mark of each reader of the user's open conversations, if after the stream sequence."""
        rows, _ = await self._model.select(
            SeenRow,
            """
            SELECT s.conversation_id, s.reader_id, s.sequence, s.seen_at, s.stream_sequence
            FROM {conversations} AS c
            CROSS JOIN LATERAL (VALUES (c.user_id), (c.peer_id)) AS reader (id)
            CROSS JOIN LATERAL (
                SELECT * FROM {seen_marks} AS s
                WHERE s.conversation_id = c.conversation_id AND s.reader_id = reader.id
                ORDER BY s.sequence DESC LIMIT 1
            ) AS s
            WHERE c.user_id = %(user_id)s AND c.open AND c.stream_sequence > %(after)s
              AND s.stream_sequence > %(after)s
            ORDER BY s.stream_sequence
            """,
            {"user_id": user_id, "after": after},
        )
        return rows


def _seen(reached: Position, gaps: MissingEvents) -> Coverage:
    read = reached.sequence(MESSAGING)
    return Coverage(
        read=read,
        applied=read if gaps.first is None else min(read, gaps.first - 1),
        waiting=gaps.waiting,
        discarded=frozenset(gaps.discarded),
    )


class _PageRow(msgspec.Struct, frozen=True):
    """A message of a page, or the conversation alone if the page is empty."""

    open: bool
    conversation_id: str | None
    sequence: int | None
    message_id: str | None
    sender_id: str | None
    text: str | None
    sent_at: datetime | None
    seen_at: datetime | None

    def message(self) -> MessageRow:
        return msgspec.convert(self, MessageRow, from_attributes=True)
