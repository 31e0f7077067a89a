"""Queries on notifications, all on the read model `notifications`."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from contracts.positions import Position
from contracts.values.field_types import Id
from projections.engine.read_model import ReadModel
from services.messaging.queries import END_OF_TIME, LAST_ID

# Whether the user's notification `n` is unread; `{read_through}` is read once per query.
_UNREAD = """
    (n.at, n.notification_id) > (
        SELECT at, notification_id FROM (
            SELECT at, notification_id FROM {read_through} WHERE user_id = %(user_id)s
            UNION ALL SELECT '-infinity', '00000000-0000-0000-0000-000000000000'
        ) AS marks
        ORDER BY at DESC, notification_id DESC LIMIT 1
    )
    AND NOT EXISTS (
        SELECT FROM {notification_reads} AS r
        WHERE r.user_id = n.user_id AND r.notification_id = n.notification_id
    )
    AND NOT EXISTS (
        SELECT FROM {seen_messages} AS s
        WHERE s.user_id = n.user_id AND s.from_user_id = n.from_user_id AND s.sequence >= n.sequence
    )
    AND NOT EXISTS (
        SELECT FROM {deleted_messages} AS d
        WHERE d.user_id = n.user_id AND d.from_user_id = n.from_user_id AND d.sequence = n.sequence
    )
"""
# Whether it is of a message of a conversation that is muted now.
_MUTED = """
    n.sequence IS NOT NULL AND EXISTS (
        SELECT FROM {mutes} AS m
        WHERE m.user_id = n.user_id AND m.from_user_id = n.from_user_id AND m.muted_until > now()
    )
"""
# Of each person the newest message that was not deleted.
_NEWEST = """
    SELECT n.from_user_id, max(n.sequence) AS sequence FROM {notifications} AS n
    WHERE n.user_id = %(user_id)s AND n.sequence IS NOT NULL AND NOT EXISTS (
        SELECT FROM {deleted_messages} AS d
        WHERE d.user_id = n.user_id AND d.from_user_id = n.from_user_id AND d.sequence = n.sequence
    )
    GROUP BY n.from_user_id
"""


class NotificationRow(msgspec.Struct, frozen=True):
    notification_id: str
    kind: str
    from_user_id: str
    at: datetime
    read: bool


class NotificationsCursor(msgspec.Struct, frozen=True):
    at: datetime
    notification_id: Id


class MessageRow(msgspec.Struct, frozen=True):
    """The notification of a message."""

    notification_id: str
    from_user_id: str
    # Of the message, within its conversation.
    sequence: int
    # The notifications of that person's messages up to this sequence are read; 0: none.
    read_through: int


class NotifiedRow(msgspec.Struct, frozen=True):
    """A notification, or with `read_ids` the notifications that were read, with the stream sequence."""

    stream_sequence: int
    notification_id: str | None
    kind: str | None
    from_user_id: str | None
    at: datetime | None
    read_ids: list[str] | None
    # With `read_ids`: the notification that was marked with all below it.
    up_to: str | None
    # With `read_ids`: the people of whose messages all earlier notifications were marked, too.
    from_user_ids: list[str] | None


class _Id(msgspec.Struct, frozen=True):
    id: str


class _Time(msgspec.Struct, frozen=True):
    at: datetime


class _Count(msgspec.Struct, frozen=True):
    count: int


class NotificationQueries:
    def __init__(self, model: ReadModel) -> None:
        self._model = model

    async def notifications(
        self,
        user_id: str,
        position: Position,
        *,
        limit: int,
        after: NotificationsCursor | None,
        by_conversation: bool = False,
    ) -> tuple[list[NotificationRow], NotificationsCursor | None, Position]:
        """Returns a page of the user's notifications, newest first.

        `by_conversation`: of each conversation only the one of its newest message. That reads an index entry for each
        notification of the user, as counting does.
        """
        await self._model.wait_for(position)
        newest = f"AND (n.sequence IS NULL OR (n.from_user_id, n.sequence) IN ({_NEWEST}))" if by_conversation else ""
        rows, reached = await self._model.select(
            NotificationRow,
            f"""
            SELECT n.notification_id, n.kind, n.from_user_id, n.at, NOT ({_UNREAD}) AS read
            FROM (
                SELECT * FROM {{notifications}} AS n
                WHERE user_id = %(user_id)s AND (at, notification_id) < (%(at)s, %(notification_id)s::uuid) {newest}
                ORDER BY at DESC, notification_id DESC LIMIT %(limit)s
            ) AS n
            ORDER BY n.at DESC, n.notification_id DESC
            """,  # noqa: S608
            {
                "user_id": user_id,
                "at": after.at if after else END_OF_TIME,
                "notification_id": after.notification_id if after else LAST_ID,
                "limit": limit + 1,
            },
        )
        page = rows[:limit]
        more = NotificationsCursor(page[-1].at, page[-1].notification_id) if len(rows) > limit else None
        return page, more, reached

    async def unread(self, user_id: str, notification_ids: Sequence[str], position: Position) -> frozenset[str]:
        """Returns those of the ids that are unread notifications of the user, at least as of the position."""
        await self._model.wait_for(position)
        rows, _ = await self._model.select(
            _Id,
            f"""
            SELECT n.notification_id AS id FROM {{notifications}} AS n
            WHERE n.user_id = %(user_id)s AND n.notification_id = ANY(%(ids)s::uuid[]) AND {_UNREAD}
            """,  # noqa: S608
            {"user_id": user_id, "ids": list(notification_ids)},
        )
        return frozenset(row.id for row in rows)

    async def of_messages(self, user_id: str, notification_ids: Sequence[str]) -> list[MessageRow]:
        """Returns those of the ids that are notifications of messages to the user."""
        rows, _ = await self._model.select(
            MessageRow,
            """
            SELECT n.notification_id, n.from_user_id, n.sequence, COALESCE(s.sequence, 0) AS read_through
            FROM {notifications} AS n LEFT JOIN {seen_messages} AS s USING (user_id, from_user_id)
            WHERE n.user_id = %(user_id)s AND n.notification_id = ANY(%(ids)s::uuid[]) AND n.sequence IS NOT NULL
            """,
            {"user_id": user_id, "ids": list(notification_ids)},
        )
        return rows

    async def unread_through(self, user_id: str, notification_id: str, position: Position) -> datetime | None:
        """Returns the time of the user's notification; None if it is not theirs, or all up to it are already marked."""
        await self._model.wait_for(position)
        rows, _ = await self._model.select(
            _Time,
            """
            SELECT n.at FROM {notifications} AS n
            WHERE n.user_id = %(user_id)s AND n.notification_id = %(id)s::uuid AND NOT EXISTS (
                SELECT FROM {read_through} AS t
                WHERE t.user_id = n.user_id AND (t.at, t.notification_id) >= (n.at, n.notification_id)
            )
            """,
            {"user_id": user_id, "id": notification_id},
        )
        return rows[0].at if rows else None

    async def wait_for(self, position: Position) -> None:
        await self._model.wait_for(position)

    async def count_unread(
        self, user_id: str, position: Position, *, by_conversation: bool = False
    ) -> tuple[int, Position]:
        """Counts the user's unread notifications, without those of muted conversations.

        `by_conversation`: those of a conversation's messages once.
        """
        await self._model.wait_for(position)
        counted = (
            "DISTINCT CASE WHEN n.sequence IS NULL THEN n.notification_id ELSE n.from_user_id END"
            if by_conversation
            else "*"
        )
        rows, reached = await self._model.select(
            _Count,
            f"""
            SELECT count({counted}) AS count FROM {{notifications}} AS n
            WHERE n.user_id = %(user_id)s AND {_UNREAD} AND NOT ({_MUTED})
            """,  # noqa: S608
            {"user_id": user_id},
        )
        return rows[0].count, reached

    async def backfill(self, user_id: str, stream: str, after: int, limit: int) -> list[NotifiedRow]:
        """Returns the user's notifications after the sequence that are unread, and those read, oldest first.

        Without those of conversations that are muted now.
        """
        rows, _ = await self._model.select(
            NotifiedRow,
            f"""
            SELECT * FROM (
                (SELECT n.stream_sequence, n.notification_id, n.kind, n.from_user_id, n.at, NULL::text[] AS read_ids,
                        NULL AS up_to, NULL::text[] AS from_user_ids
                 FROM {{notifications}} AS n
                 WHERE n.user_id = %(user_id)s AND n.stream = %(stream)s AND n.stream_sequence > %(after)s
                   AND {_UNREAD} AND NOT ({_MUTED})
                 ORDER BY n.stream_sequence LIMIT %(limit)s)
                UNION ALL
                (SELECT r.stream_sequence, NULL, NULL, NULL, NULL, array_agg(r.notification_id::text ORDER BY 1), NULL,
                        array_agg(r.from_user_id::text ORDER BY 1) FILTER (WHERE r.from_user_id IS NOT NULL)
                 FROM (
                     SELECT user_id, notification_id, NULL::uuid AS from_user_id, stream_sequence
                     FROM {{notification_reads}}
                     UNION ALL
                     SELECT user_id, notification_id, from_user_id, stream_sequence FROM {{conversation_reads}}
                 ) AS r
                 WHERE %(stream)s = 'MESSAGING' AND r.user_id = %(user_id)s AND r.stream_sequence > %(after)s
                 GROUP BY r.stream_sequence ORDER BY r.stream_sequence LIMIT %(limit)s)
                UNION ALL
                (SELECT t.stream_sequence, NULL, NULL, NULL, NULL, ARRAY[t.notification_id::text],
                        t.notification_id::text, NULL
                 FROM {{read_through}} AS t
                 WHERE %(stream)s = 'MESSAGING' AND t.user_id = %(user_id)s AND t.stream_sequence > %(after)s
                 ORDER BY t.stream_sequence LIMIT %(limit)s)
            ) AS notified ORDER BY stream_sequence LIMIT %(limit)s
            """,  # noqa: S608
            {"user_id": user_id, "stream": stream, "after": after, "limit": limit},
        )
        return rows
