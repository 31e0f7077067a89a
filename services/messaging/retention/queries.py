"""The messages that are not deleted, in the order of their ids, which is that of their times, in the read model
`conversations`."""

from datetime import datetime

import msgspec

from contracts.positions import Position
from projections.engine.read_model import ReadModel


class AgedMessage(msgspec.Struct, frozen=True, kw_only=True):
    message_id: str
    conversation_id: str
    sequence: int
    sender_id: str
    sent_at: datetime
    # The other person.
    peer_id: str | None


class _Oldest(msgspec.Struct, frozen=True):
    sent_at: datetime


class AgedMessageQueries:
    def __init__(self, model: ReadModel) -> None:
        self._model = model

    async def page(self, after: str, before: str, limit: int) -> list[AgedMessage]:
        """Returns a page of undeleted messages with ids between these two. The read model may lag.

        A partial index contains only these, so that a page costs the same however many were deleted.

        Raises:
            ReadModelBehind, Unavailable: the read model cannot be read.
        """
        rows, _ = await self._model.select(
            AgedMessage,
            """
            SELECT m.message_id, m.conversation_id, m.sequence, m.sender_id, m.sent_at,
                   (SELECT c.peer_id FROM {conversations} AS c
                    WHERE c.user_id = m.sender_id AND c.conversation_id = m.conversation_id) AS peer_id
            FROM {messages} AS m
            WHERE m.deleted IS NULL AND m.message_id > %(after)s::uuid AND m.message_id < %(before)s::uuid
              AND m.sender_id IS NOT NULL
            ORDER BY m.message_id LIMIT %(limit)s
            """,
            {"after": after, "before": before, "limit": limit},
        )
        return rows

    async def oldest(self, position: Position) -> datetime | None:
        """The time at which the oldest undeleted message was sent, at least as of the position; None if there is none.

        Raises:
            ReadModelBehind, Unavailable: the read model cannot be read, or has not reached the position.
        """
        await self._model.wait_for(position)
        rows, _ = await self._model.select(
            _Oldest,
            """
            SELECT m.sent_at FROM {messages} AS m
            WHERE m.deleted IS NULL AND m.message_id IS NOT NULL AND m.sender_id IS NOT NULL
            ORDER BY m.message_id LIMIT 1
            """,
        )
        return rows[0].sent_at if rows else None
