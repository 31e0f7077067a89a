"""SQL queries of events' histories over the read models: the audit of logins, and what became of an event."""

from collections.abc import Mapping
from datetime import datetime
from typing import TypeVar

import msgspec

from contracts.values.ids import is_id
from projections.engine.dead_letters import queries
from projections.engine.dead_letters.queries import DeadLetterFilter
from projections.engine.projection import Projection
from services.operator.dead_letters.views import Letter, of_letter
from services.operator.read_models import ReadModels

R = TypeVar("R", bound=msgspec.Struct)

_AUDIT = "session_audit"
# The newest first; each branch of the union reads its own index backwards. A session that expired before it was revoked
# counts as expired.
_LOGINS = """
SELECT * FROM (
    (SELECT a.at, a.event, l.user_id, l.username, l.session_id, l.device, l.address, a.reason, a.note, a.actor,
        a.sequence
     FROM {session_audit} AS a JOIN {session_audit_logins} AS l USING (session_id)
     WHERE a.at >= %(since)s AND (a.at, a.sequence) < (%(before_at)s, %(before_sequence)s)
       AND (a.event <> 'session.revoked' OR a.at < l.expires_at) <kinds> <whose a>
     ORDER BY a.at DESC, a.sequence DESC LIMIT %(limit)s)
    UNION ALL
    (SELECT l.expires_at, 'session.expired', l.user_id, l.username, l.session_id, l.device, l.address, 'expired',
        NULL, NULL, l.sequence
     FROM {session_audit_logins} AS l
     WHERE l.expires_at >= %(since)s AND (l.expires_at, l.sequence) < (%(before_at)s, %(before_sequence)s)
       AND l.expires_at <= %(now)s AND (l.revoked_at IS NULL OR l.revoked_at >= l.expires_at) <whose l>
     ORDER BY l.expires_at DESC, l.sequence DESC LIMIT %(limit)s)
) AS found
ORDER BY at DESC, sequence DESC LIMIT %(limit)s
"""
_WITHOUT_REFRESHES = "AND a.event <> 'session.refreshed'"
_USER = "SELECT user_id FROM {session_audit_logins} WHERE username = %(username)s LIMIT 1"
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


class LoginRow(msgspec.Struct, frozen=True, kw_only=True):
    at: datetime
    # Type of the event, or `session.expired`.
    event: str
    user_id: str
    username: str | None
    session_id: str
    device: str | None
    address: str | None
    reason: str | None
    note: str | None
    actor: str | None
    # Of the event; for an expired session, of its last event.
    sequence: int


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


class _UserId(msgspec.Struct, frozen=True):
    user_id: str


class _Missing(msgspec.Struct, frozen=True):
    missing: bool


class HistoryQueries:
    def __init__(self, read_models: ReadModels) -> None:
        self._read_models = read_models

    async def logins(
        self,
        *,
        user_id: str | None,
        since: datetime | None,
        before: tuple[datetime, int] | None,
        now: datetime,
        refreshes: bool,
        limit: int,
    ) -> list[LoginRow]:
        """Rows of the login audit below `before` (a time and a sequence), the newest first."""
        sql = _LOGINS.replace("<kinds>", "" if refreshes else _WITHOUT_REFRESHES)
        for table in "al":
            sql = sql.replace(f"<whose {table}>", "" if user_id is None else f"AND {table}.user_id = %(user_id)s")
        params = {
            "user_id": user_id,
            "since": since or "-infinity",
            "before_at": before[0] if before else "infinity",
            "before_sequence": before[1] if before else 0,
            "now": now,
            "limit": limit,
        }
        return await self._read_models.select(_AUDIT, LoginRow, sql, params)

    async def who_logged_in(self, user: str) -> str | None:
        """Resolves an id or username to a user id; None if no user of that name has ever logged in."""
        if is_id(user.lower()):
            return user.lower()
        users = await self._read_models.select(_AUDIT, _UserId, _USER, {"username": user.lower()})
        return users[0].user_id if users else None

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
