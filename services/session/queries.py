"""Queries on a user's sessions, all on the read model `sessions`. A device and an address with a term are in
`session_origins` until it ends."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Generic, TypeVar
from uuid import UUID

import msgspec

from contracts.positions import Position
from contracts.values.cursors import decode_cursor, encode_cursor
from projections.engine.read_model import ReadModel

_ACTIVE = """
SELECT s.session_id, COALESCE(o.device, s.device) AS device, COALESCE(o.address, s.address) AS address,
    s.created_at, s.last_refreshed_at
FROM {sessions} AS s LEFT JOIN {session_origins} AS o ON o.session_id = s.session_id
WHERE s.user_id = %(user_id)s AND s.revoked_at IS NULL AND s.expires_at > %(now)s
    AND (%(before_at)s::timestamptz IS NULL OR (s.created_at, s.session_id) < (%(before_at)s, %(before_id)s::uuid))
ORDER BY s.created_at DESC, s.session_id DESC
LIMIT %(limit)s
"""

_ACTIVE_IDS = """
SELECT session_id
FROM {sessions}
WHERE user_id = %(user_id)s AND revoked_at IS NULL AND expires_at > %(now)s
    AND (%(only)s::uuid IS NULL OR session_id = %(only)s) AND (%(kept)s::uuid IS NULL OR session_id <> %(kept)s)
    AND (%(below)s::bigint IS NULL OR credential < %(below)s)
"""

_USER = """
SELECT user_id FROM {sessions} WHERE username = %(username)s LIMIT 1
"""

_LOGIN = """
SELECT COALESCE(o.device, s.device) AS device, COALESCE(o.address, s.address) AS address
FROM {sessions} AS s LEFT JOIN {session_origins} AS o ON o.session_id = s.session_id
WHERE s.user_id = %(user_id)s AND s.session_id = %(session_id)s
"""

# Session ids are ordered by the time of the login.
_EARLIER = """
SELECT session_id FROM {sessions} WHERE user_id = %(user_id)s AND session_id < %(session_id)s LIMIT 1
"""

# A session that was neither refreshed nor revoked in time ended at its `expires_at`.
_HISTORY = """
SELECT s.session_id, COALESCE(o.device, s.device) AS device, COALESCE(o.address, s.address) AS address,
    s.created_at, s.last_refreshed_at,
    COALESCE(s.revoked_at, CASE WHEN s.expires_at <= %(now)s THEN s.expires_at END) AS ended_at,
    COALESCE(s.reason, CASE WHEN s.expires_at <= %(now)s THEN 'expired' END) AS reason
FROM {sessions} AS s LEFT JOIN {session_origins} AS o ON o.session_id = s.session_id
WHERE s.user_id = %(user_id)s AND s.created_at IS NOT NULL
    AND (%(before_at)s::timestamptz IS NULL OR (s.created_at, s.session_id) < (%(before_at)s, %(before_id)s::uuid))
ORDER BY s.created_at DESC, s.session_id DESC
LIMIT %(limit)s
"""

_BACKFILL = """
SELECT session_id, reason, sequence
FROM {sessions}
WHERE user_id = %(user_id)s AND revoked_at IS NOT NULL AND sequence > %(after)s
ORDER BY sequence
LIMIT %(limit)s
"""

# By the index of sessions without a name: an erased user has none.
_OF_ERASED = """
SELECT s.session_id, s.user_id FROM {sessions} AS s JOIN {erased} AS e ON e.user_id = s.user_id
WHERE s.username = '' AND s.revoked_at IS NULL AND s.expires_at > %(now)s
LIMIT %(limit)s
"""

_PAGE = 500
_ALL = 1 << 62


class SessionRow(msgspec.Struct, frozen=True, kw_only=True):
    session_id: str
    device: str | None
    address: str | None
    created_at: datetime
    last_refreshed_at: datetime


class PastSessionRow(SessionRow, frozen=True, kw_only=True):
    # None while it is active.
    ended_at: datetime | None
    reason: str | None


Row = TypeVar("Row", bound=SessionRow)


class SessionPage(msgspec.Struct, Generic[Row], frozen=True, kw_only=True):
    sessions: list[Row]
    # Empty on the last page.
    next: str
    position: Position
    # The time that the page covers: from `since` on, before `before`; None: no bound.
    since: datetime | None
    before: datetime | None
    # The session that was opened at `before`, the last one of the previous page.
    newer_id: str | None


class RevokedRow(msgspec.Struct, frozen=True, kw_only=True):
    session_id: str
    reason: str
    sequence: int


class SessionOfErased(msgspec.Struct, frozen=True):
    """An active session of a user who was erased."""

    session_id: str
    user_id: str


class LoginRow(msgspec.Struct, frozen=True, kw_only=True):
    """The login of a session: its address and device."""

    device: str | None
    address: str | None


class _SessionId(msgspec.Struct, frozen=True):
    session_id: str


class _UserId(msgspec.Struct, frozen=True):
    user_id: str


class _Before(msgspec.Struct, frozen=True):
    """Cursor: the last session of the previous page."""

    at: datetime
    id: UUID


class Queries:
    def __init__(self, sessions: ReadModel) -> None:
        self._sessions = sessions

    async def active(
        self, user_id: str, *, limit: int, cursor: str, now: datetime, position: Position
    ) -> SessionPage[SessionRow]:
        """Returns a page of the user's active sessions, newest first.

        Raises:
            Invalid: the cursor is not one of ours.
            ReadModelBehind: the read model has not reached the position.
        """
        return await self._page(SessionRow, _ACTIVE, user_id, limit, cursor, now, position)

    async def history(
        self, user_id: str, *, limit: int, cursor: str, now: datetime, position: Position
    ) -> SessionPage[PastSessionRow]:
        """Returns a page of all of the user's sessions, including ended ones, newest first.

        Raises:
            Invalid: the cursor is not one of ours.
            ReadModelBehind: the read model has not reached the position.
        """
        return await self._page(PastSessionRow, _HISTORY, user_id, limit, cursor, now, position)

    async def _page(
        self,
        kind: type[Row],
        statement: str,
        user_id: str,
        limit: int,
        cursor: str,
        now: datetime,
        position: Position,
    ) -> SessionPage[Row]:
        before = decode_cursor(cursor, _Before)
        await self._sessions.wait_for(position)
        rows, reached = await self._sessions.select(
            kind,
            statement,
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
            since=page[-1].created_at if more else None,
            before=None if before is None else before.at,
            newer_id=None if before is None else str(before.id),
        )

    async def active_ids(
        self,
        user_id: str,
        *,
        now: datetime,
        position: Position,
        only: str | None = None,
        kept: str | None = None,
        below_credential: int | None = None,
    ) -> list[str]:
        """Returns the ids of the user's active sessions: `only` one, all but `kept`, or those of older credentials.

        Raises:
            ReadModelBehind: the read model has not reached the position.
        """
        await self._sessions.wait_for(position)
        rows, _ = await self._sessions.select(
            _SessionId,
            _ACTIVE_IDS,
            {"user_id": user_id, "now": now, "only": only, "kept": kept, "below": below_credential},
        )
        return [row.session_id for row in rows]

    async def of_erased_users(self, now: datetime) -> list[SessionOfErased]:
        """Returns active sessions of users who were erased, at most a page. The read model may lag.

        Raises:
            ReadModelBehind, Unavailable: it cannot be read.
        """
        return (await self._sessions.select(SessionOfErased, _OF_ERASED, {"now": now, "limit": _PAGE}))[0]

    async def is_first(self, user_id: str, session_id: str, position: Position) -> bool:
        """Whether the user never had a session before this one.

        Raises:
            ReadModelBehind: the read model has not reached the position.
        """
        await self._sessions.wait_for(position)
        rows, _ = await self._sessions.select(_SessionId, _EARLIER, {"user_id": user_id, "session_id": session_id})
        return not rows

    async def login(self, user_id: str, session_id: str, position: Position) -> LoginRow | None:
        """Returns from where the user's session was opened; None if there is none.

        Raises:
            ReadModelBehind: the read model has not reached the position.
        """
        await self._sessions.wait_for(position)
        rows, _ = await self._sessions.select(LoginRow, _LOGIN, {"user_id": user_id, "session_id": session_id})
        return rows[0] if rows else None

    async def user_called(self, username: str, position: Position) -> str | None:
        """Returns the user who has logged in under this username; None if no one has. Its user never changes.

        Raises:
            ReadModelBehind: the read model has not reached the position.
        """
        await self._sessions.wait_for(position)
        rows, _ = await self._sessions.select(_UserId, _USER, {"username": username.lower()})
        return rows[0].user_id if rows else None

    async def backfill(self, user_id: str, *, after: int, limit: int, position: Position) -> AsyncIterator[RevokedRow]:
        """Yields the user's sessions revoked after a sequence, in the order of revocation; `limit` 0: all.

        Raises:
            ReadModelBehind: the read model has not reached the position.
        """
        await self._sessions.wait_for(position)
        left = limit or _ALL
        while left:
            page = min(left, _PAGE)
            rows, _ = await self._sessions.select(
                RevokedRow, _BACKFILL, {"user_id": user_id, "after": after, "limit": page}
            )
            for row in rows:
                yield row
            if len(rows) < page:
                return
            after, left = rows[-1].sequence, left - page
