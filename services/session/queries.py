"""What the read model tells about a user's sessions."""

from collections.abc import AsyncIterator
from datetime import datetime
from uuid import UUID

import msgspec

from contracts.cursors import decode_cursor, encode_cursor
from contracts.positions import Position
from projections.engine.read_model import ReadModel
from projections.sessions import Sessions

_ACTIVE = """
SELECT session_id, device, created_at, last_refreshed_at
FROM {sessions}
WHERE user_id = %(user_id)s AND revoked_at IS NULL AND expires_at > %(now)s
    AND (%(before_at)s::timestamptz IS NULL OR (created_at, session_id) < (%(before_at)s, %(before_id)s::uuid))
ORDER BY created_at DESC, session_id DESC
LIMIT %(limit)s
"""

_ACTIVE_IDS = """
SELECT session_id
FROM {sessions}
WHERE user_id = %(user_id)s AND revoked_at IS NULL AND expires_at > %(now)s AND session_id <> %(kept)s
"""

_REVOKED_SINCE = """
SELECT session_id, reason, sequence
FROM {sessions}
WHERE user_id = %(user_id)s AND revoked_at IS NOT NULL AND sequence > %(after)s
ORDER BY sequence
LIMIT %(limit)s
"""

_PAGE = 500


class SessionRow(msgspec.Struct, frozen=True, kw_only=True):
    session_id: str
    device: str | None
    created_at: datetime
    last_refreshed_at: datetime


class SessionPage(msgspec.Struct, frozen=True, kw_only=True):
    sessions: list[SessionRow]
    # Empty on the last page.
    next: str
    position: Position


class RevokedRow(msgspec.Struct, frozen=True, kw_only=True):
    session_id: str
    reason: str
    sequence: int


class _SessionId(msgspec.Struct, frozen=True):
    session_id: str


class _Before(msgspec.Struct, frozen=True):
    """Where the next page begins."""

    at: datetime
    id: UUID


class Queries:
    def __init__(self, sessions: ReadModel[Sessions]) -> None:
        self._sessions = sessions

    async def active(self, user_id: str, *, limit: int, cursor: str, now: datetime, position: Position) -> SessionPage:
        """One page of the user's sessions, the newest first.

        Raises:
            Invalid: the cursor is not one of ours.
            ReadModelBehind: the read model has not reached the position.
        """
        before = decode_cursor(cursor, _Before)
        await self._sessions.wait_for(position)
        rows, reached = await self._sessions.select(
            SessionRow,
            _ACTIVE,
            {
                "user_id": user_id,
                "now": now,
                "before_at": before and before.at,
                "before_id": before and before.id,
                "limit": limit + 1,
            },
        )
        page = rows[:limit]
        more = len(rows) > limit
        return SessionPage(
            sessions=page,
            next=encode_cursor(_Before(at=page[-1].created_at, id=UUID(page[-1].session_id))) if more else "",
            position=reached,
        )

    async def active_ids(self, user_id: str, *, kept: str, now: datetime, position: Position) -> list[str]:
        """Every session of the user but the kept one.

        Raises:
            ReadModelBehind: the read model has not reached the position.
        """
        await self._sessions.wait_for(position)
        rows, _ = await self._sessions.select(_SessionId, _ACTIVE_IDS, {"user_id": user_id, "now": now, "kept": kept})
        return [row.session_id for row in rows]

    async def revoked_since(self, user_id: str, *, after: int, position: Position) -> AsyncIterator[RevokedRow]:
        """The user's sessions that were revoked after a sequence, in the order of their ends.

        Raises:
            ReadModelBehind: the read model has not reached the position.
        """
        await self._sessions.wait_for(position)
        while True:
            rows, _ = await self._sessions.select(
                RevokedRow, _REVOKED_SINCE, {"user_id": user_id, "after": after, "limit": _PAGE}
            )
            for row in rows:
                yield row
            if len(rows) < _PAGE:
                return
            after = rows[-1].sequence
