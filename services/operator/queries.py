"""What the operator's service asks of the read models."""

from datetime import datetime

import msgspec

from contracts.identifiers import is_id
from services.operator.read_models import ReadModels

_AUDIT = "session_audit"
# The newest first, each part of it as far as its own index goes back. Of a session that ran out before it was revoked,
# the end is that it ran out.
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
    # Of the event; of a session that ran out, of its last event.
    sequence: int


class _UserId(msgspec.Struct, frozen=True):
    user_id: str


class _Missing(msgspec.Struct, frozen=True):
    missing: bool


class Queries:
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
        """Rows of the audit of logins below the place (a time and a sequence), the newest first."""
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
        """The id of the user of this id or username; None where nobody of that name has ever logged in."""
        if is_id(user.lower()):
            return user.lower()
        found = await self._read_models.select(_AUDIT, _UserId, _USER, {"username": user.lower()})
        return found[0].user_id if found else None

    async def lacks_events(self, projection: str) -> bool:
        """Whether the read model has dead letters."""
        (found,) = await self._read_models.select(projection, _Missing, _MISSING, {"projection": projection})
        return found.missing
