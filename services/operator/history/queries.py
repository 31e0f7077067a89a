"""SQL queries of what became of an event, over the read models."""

from collections.abc import Mapping
from datetime import datetime
from typing import TypeVar

import msgspec

from projections.engine.dead_letters import queries
from projections.engine.dead_letters.queries import DeadLetterFilter
from projections.engine.projection import Projection
from services.operator.dead_letters.views import Letter, of_letter
from services.operator.read_models import ReadModels

R = TypeVar("R", bound=msgspec.Struct)

_MISSING = """
SELECT EXISTS (
    SELECT FROM projection_dead_letters AS l JOIN projection_builds AS b USING (projection, version, build)
    WHERE l.projection = %(projection)s AND b.state = 'live'
) AS missing
"""
_CHECKPOINTS = """
SELECT b.build, b.state, c.sequence, c.updated_at
FROM projection_builds AS b JOIN projection_checkpoints AS c USING (projection, version, build)
WHERE b.projection = %(projection)s AND b.version = %(version)s AND c.stream = %(stream)s
  AND b.state IN ('live', 'building')
ORDER BY b.state DESC, b.build DESC LIMIT 1
"""
# A reply implies that the messages before it were seen.
_MESSAGE = """
SELECT m.sequence IS NOT NULL AS stored, c.open, LEAST(
    (SELECT s.seen_at FROM {seen_marks} AS s
     WHERE s.conversation_id = %(conversation_id)s AND s.reader_id = %(recipient_id)s AND s.sequence >= %(sequence)s
     ORDER BY s.sequence LIMIT 1),
    (SELECT r.sent_at FROM {messages} AS r
     WHERE r.conversation_id = %(conversation_id)s AND r.sender_id = %(recipient_id)s AND r.sequence > %(sequence)s
     ORDER BY r.sequence LIMIT 1)) AS seen_at
FROM (SELECT) AS always
LEFT JOIN {messages} AS m ON (m.conversation_id, m.sequence) = (%(conversation_id)s, %(sequence)s)
LEFT JOIN {conversations} AS c ON (c.user_id, c.peer_id) = (%(recipient_id)s, %(sender_id)s)
"""
_NOTIFICATION = """
SELECT notification_id, at FROM {notifications}
WHERE (user_id, notification_id) = (%(user_id)s, %(notification_id)s)
"""


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    build: int
    # `live` or `building`.
    state: str
    sequence: int
    updated_at: datetime


class MessageRow(msgspec.Struct, frozen=True, kw_only=True):
    """State of a message in the read model of conversations."""

    stored: bool
    # Whether the two are friends now; None if there is no conversation.
    open: bool | None
    seen_at: datetime | None


class Notification(msgspec.Struct, frozen=True, kw_only=True):
    notification_id: str
    at: datetime


class _Missing(msgspec.Struct, frozen=True):
    missing: bool


class HistoryQueries:
    def __init__(self, read_models: ReadModels) -> None:
        self._read_models = read_models

    async def lacks_events(self, projection: str) -> bool:
        """Whether the live build of the read model has dead letters."""
        (row,) = await self._read_models.select(projection, _Missing, _MISSING, {"projection": projection})
        return row.missing

    async def checkpoint(self, projection: type[Projection], stream: str) -> Checkpoint | None:
        """A stream's checkpoint in the live build of the current version, or in its first build in progress."""
        params = {"projection": projection.name, "version": projection.version, "stream": stream}
        return await self._one(projection.name, Checkpoint, _CHECKPOINTS, params)

    async def message(self, conversation_id: str, sequence: int, sender_id: str, recipient_id: str) -> MessageRow:
        params = {
            "conversation_id": conversation_id,
            "sequence": sequence,
            "sender_id": sender_id,
            "recipient_id": recipient_id,
        }
        (row,) = await self._read_models.select("conversations", MessageRow, _MESSAGE, params)
        return row

    async def notification(self, user_id: str, notification_id: str) -> Notification | None:
        params = {"user_id": user_id, "notification_id": notification_id}
        return await self._one("notifications", Notification, _NOTIFICATION, params)

    async def letters_of(self, projection: type[Projection], aggregate_id: str) -> list[Letter]:
        """The aggregate's dead letters in this projection."""
        letter_filter = DeadLetterFilter(projections=[projection.name], aggregate_id=aggregate_id)
        async with self._read_models.database_of(projection) as conn:
            return [of_letter(letter) async for letter in queries.list_dead_letters(conn, letter_filter)]

    async def _one(self, name: str, row_type: type[R], sql: str, params: Mapping[str, object]) -> R | None:
        rows = await self._read_models.select(name, row_type, sql, params)
        return rows[0] if rows else None
