"""The messages in the order of their ids, which is that of their times, in the read model `conversations`."""

from datetime import datetime

import msgspec

from projections.engine.read_model import ReadModel


class AgedMessage(msgspec.Struct, frozen=True, kw_only=True):
    message_id: str
    conversation_id: str
    sequence: int
    sender_id: str
    sent_at: datetime
    deleted: bool
    # The other person; None of a deleted message.
    peer_id: str | None


class AgedMessageQueries:
    def __init__(self, model: ReadModel) -> None:
        self._model = model

    async def page(self, after: str, before: str, limit: int) -> list[AgedMessage]:
        """Messages with ids between these two, deleted ones too, so that a page costs the same however many were
        deleted. The read model may lag.

        Raises:
            ReadModelBehind, Unavailable: the read model cannot be read.
        """
        rows, _ = await self._model.select(
            AgedMessage,
            """
            SELECT m.message_id, m.conversation_id, m.sequence, m.sender_id, m.sent_at,
                   COALESCE(m.deleted, false) AS deleted,
                   CASE WHEN m.deleted IS NOT TRUE THEN (
                       SELECT c.peer_id FROM {conversations} AS c
                       WHERE c.user_id = m.sender_id AND c.conversation_id = m.conversation_id
                   ) END AS peer_id
            FROM {messages} AS m
            WHERE m.message_id > %(after)s::uuid AND m.message_id < %(before)s::uuid AND m.sender_id IS NOT NULL
            ORDER BY m.message_id LIMIT %(limit)s
            """,
            {"after": after, "before": before, "limit": limit},
        )
        return rows
