"""Queries for backfill, all on the read model `conversations`."""

from datetime import datetime

import msgspec

from contracts.events.message import MessageDeleted, MessageEdited, MessageSent
from contracts.positions import Position
from projections.engine.read_model import ReadModel
from services.messaging.message_json import LIVE_CONVERSATION, LIVE_MESSAGE


class MissedMessage(msgspec.Struct, frozen=True):
    """A missed message or change of a message."""

    # The event's type.
    type: str
    # A `LiveMessage` as JSON: the message as it is now.
    data: str
    # Bytes of its text.
    text_size: int
    # Of the event.
    stream_sequence: int


class SeenRow(msgspec.Struct, frozen=True):
    """A reader's latest mark."""

    conversation_id: str
    reader_id: str
    sequence: int
    seen_at: datetime
    stream_sequence: int


class SettingsRow(msgspec.Struct, frozen=True):
    """A conversation whose settings were changed."""

    # A `LiveConversation` as JSON.
    data: str
    stream_sequence: int


class ReactionRow(msgspec.Struct, frozen=True):
    """A user's present reaction to a message."""

    peer_id: str
    message_id: str
    conversation_id: str
    sequence: int
    user_id: str
    # None: it was removed.
    emoji: str | None
    stream_sequence: int


class BackfillQueries:
    def __init__(self, model: ReadModel) -> None:
        self._model = model

    async def wait_for(self, position: Position) -> None:
        await self._model.wait_for(position)

    async def messages(self, user_id: str, after: int, limit: int, most_bytes: int) -> list[MissedMessage]:
        """Returns messages of the user's open conversations sent or changed after the stream sequence, oldest first.

        Of several changes of a message only the last is returned. Ends with the event with which the texts reach
        `most_bytes`.
        """
        rows, _ = await self._model.select(
            MissedMessage,
            f"""
            SELECT m.type, {LIVE_MESSAGE} AS data, octet_length(m.text) AS text_size, m.event AS stream_sequence FROM (
                SELECT *, sum(octet_length(text)) OVER (ORDER BY event) - octet_length(text) AS before FROM (
                    SELECT m.*, c.peer_id
                    FROM {{conversations}} AS c CROSS JOIN LATERAL (
                        (
                            SELECT *, '{MessageSent.TYPE}' AS type, stream_sequence AS event FROM {{messages}} AS m
                            WHERE m.conversation_id = c.conversation_id AND m.stream_sequence > %(after)s
                            ORDER BY m.stream_sequence LIMIT %(limit)s
                        ) UNION ALL (
                            SELECT *, CASE WHEN deleted THEN '{MessageDeleted.TYPE}' ELSE '{MessageEdited.TYPE}' END,
                                   changed_sequence
                            FROM {{messages}} AS m
                            WHERE m.conversation_id = c.conversation_id AND m.changed_sequence > %(after)s
                            ORDER BY m.changed_sequence LIMIT %(limit)s
                        )
                    ) AS m
                    WHERE c.user_id = %(user_id)s AND c.open AND c.stream_sequence > %(after)s
                    ORDER BY m.event LIMIT %(limit)s
                ) AS missed
            ) AS m
            WHERE m.before < %(most_bytes)s
            ORDER BY m.event
            """,  # noqa: S608
            {"user_id": user_id, "after": after, "limit": limit, "most_bytes": most_bytes},
        )
        return rows

    async def reactions(self, user_id: str, after: int, limit: int) -> list[ReactionRow]:
        """Returns the reactions in the user's open conversations that changed after the stream sequence, in order."""
        rows, _ = await self._model.select(
            ReactionRow,
            """
            SELECT c.peer_id, m.message_id, r.conversation_id, r.sequence, r.user_id, r.emoji, r.stream_sequence
            FROM {conversations} AS c
            CROSS JOIN LATERAL (
                SELECT * FROM {reactions} AS r
                WHERE r.conversation_id = c.conversation_id AND r.stream_sequence > %(after)s
                ORDER BY r.stream_sequence LIMIT %(limit)s
            ) AS r
            JOIN {messages} AS m ON m.conversation_id = r.conversation_id AND m.sequence = r.sequence
            WHERE c.user_id = %(user_id)s AND c.open AND c.stream_sequence > %(after)s AND m.message_id IS NOT NULL
              AND m.deleted IS NOT TRUE
            ORDER BY r.stream_sequence LIMIT %(limit)s
            """,
            {"user_id": user_id, "after": after, "limit": limit},
        )
        return rows

    async def marks(self, user_id: str, after: int) -> list[SeenRow]:
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

    async def settings(self, user_id: str, after: int) -> list[SettingsRow]:
        """Returns the user's settings of open conversations, if changed after the stream sequence."""
        rows, _ = await self._model.select(
            SettingsRow,
            f"""
            SELECT {LIVE_CONVERSATION} AS data, c.settings_sequence AS stream_sequence FROM {{conversations}} AS c
            WHERE c.user_id = %(user_id)s AND c.open AND c.settings_sequence > %(after)s
            ORDER BY c.settings_sequence
            """,  # noqa: S608
            {"user_id": user_id, "after": after},
        )
        return rows
