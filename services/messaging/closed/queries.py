"""A user's own messages in closed conversations, in the read model `conversations`."""

from datetime import datetime

import msgspec

from contracts.positions import Position
from contracts.values.field_types import Id
from projections.engine.read_model import ReadModel

# Each conversation is read by its index of senders.
_PAGE = """
SELECT c.peer_id, m.message_id, m.conversation_id, m.sequence, m.text, m.sent_at, m.edited_at, m.deleted
FROM {conversations} AS c CROSS JOIN LATERAL (
    SELECT * FROM {messages} AS m
    WHERE m.conversation_id = c.conversation_id AND m.sender_id = c.user_id AND m.message_id IS NOT NULL
        AND (c.peer_id > %(peer_id)s::uuid OR m.sequence > %(sequence)s)
    ORDER BY m.sequence LIMIT %(limit)s
) AS m
WHERE c.user_id = %(user_id)s AND NOT c.open AND c.peer_id >= %(peer_id)s::uuid
ORDER BY c.peer_id, m.sequence LIMIT %(limit)s
"""
_FIRST = "00000000-0000-0000-0000-000000000000"


class ClosedCursor(msgspec.Struct, frozen=True):
    """The last message of the previous page."""

    peer_id: Id
    sequence: int


class ClosedMessage(msgspec.Struct, frozen=True, kw_only=True):
    # The other person.
    peer_id: str
    message_id: str
    conversation_id: str
    sequence: int
    # Empty if it was deleted.
    text: str | None
    sent_at: datetime
    edited_at: datetime | None
    # True or None.
    deleted: bool | None


class ClosedMessageQueries:
    def __init__(self, model: ReadModel) -> None:
        self._model = model

    async def page(
        self, user_id: str, after: ClosedCursor | None, limit: int, position: Position
    ) -> list[ClosedMessage]:
        """Returns the user's messages after the cursor, at least as of the position.

        Raises:
            ReadModelBehind, Unavailable: the read model cannot be read, or has not reached the position.
        """
        await self._model.wait_for(position)
        rows, _ = await self._model.select(
            ClosedMessage,
            _PAGE,
            {
                "user_id": user_id,
                "peer_id": _FIRST if after is None else after.peer_id,
                "sequence": 0 if after is None else after.sequence,
                "limit": limit,
            },
        )
        return rows
