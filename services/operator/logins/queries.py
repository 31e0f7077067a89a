"""SQL queries of the login audit: the read models `session_audit` and `login_failures`, and usernames from `users`."""

from collections.abc import Collection, Mapping
from datetime import datetime

import msgspec

from contracts.values.ids import is_id
from infra.history.login_audit import EXPIRED, Query
from services.operator.read_models import ReadModels

_AUDIT, _FAILURES, _USERS = "session_audit", "login_failures", "users"
# The newest first; each branch of the union reads its own index backwards. A session that expired before it was revoked
# counts as expired.
_LOGINS = """
SELECT * FROM (
    (SELECT a.at, a.event, l.user_id, l.username, l.session_id, COALESCE(o.device, l.device) AS device,
        COALESCE(o.address, l.address) AS address, l.new_device,
        l.second_factor, a.reason, a.note, a.actor, a.sequence
     FROM {session_audit} AS a JOIN {session_audit_logins} AS l USING (session_id)
       LEFT JOIN {session_audit_origins} AS o USING (session_id)
     WHERE a.at >= %(since)s AND (a.at, a.sequence) < (%(before_at)s, %(before_sequence)s)
       AND (a.event <> 'session.revoked' OR a.at < l.expires_at) <events> <whose a> <origin>
     ORDER BY a.at DESC, a.sequence DESC LIMIT %(limit)s)
    UNION ALL
    (SELECT l.expires_at, 'session.expired', l.user_id, l.username, l.session_id,
        COALESCE(o.device, l.device), COALESCE(o.address, l.address), l.new_device,
        l.second_factor, 'expired', NULL, NULL, l.sequence
     FROM {session_audit_logins} AS l LEFT JOIN {session_audit_origins} AS o USING (session_id)
     WHERE l.expires_at >= %(since)s AND (l.expires_at, l.sequence) < (%(before_at)s, %(before_sequence)s)
       AND l.expires_at <= %(now)s AND (l.revoked_at IS NULL OR l.revoked_at >= l.expires_at)
       <expiries> <whose l> <origin>
     ORDER BY l.expires_at DESC, l.sequence DESC LIMIT %(limit)s)
) AS rows
ORDER BY at DESC, sequence DESC LIMIT %(limit)s
"""
_FAILED = """
SELECT l.at, l.user_id, l.device, l.address, l.reason, l.count, l.sequence
FROM {login_failures} AS l
WHERE l.at >= %(since)s AND (l.at, l.sequence) < (%(before_at)s, %(before_sequence)s) <whose l> <origin> <reason>
ORDER BY l.at DESC, l.sequence DESC LIMIT %(limit)s
"""
_WITHOUT_REFRESHES = "AND a.event <> 'session.refreshed'"
# The user's id has an index.
_OF_SESSION = """
AND {table}.session_id = %(session_id)s
AND {table}.user_id = (SELECT user_id FROM {session_audit_logins} WHERE session_id = %(session_id)s)
"""
_FROM_DEVICE = "AND strpos(lower({device}), lower(%(device)s)) > 0"
_FROM_NETWORK = "AND {network} && %(network)s::inet"
# A device and a network with a term are in a table of their own until it ends.
_OF_LOGIN = {"device": "COALESCE(o.device, l.device)", "network": "COALESCE(o.network, l.network)"}
_OF_FAILURE = {"device": "l.device", "network": "l.network"}
_USER = "SELECT user_id FROM {session_audit_logins} WHERE username = %(username)s LIMIT 1"
_ACCOUNT = "SELECT user_id FROM {users} WHERE username = %(username)s ORDER BY created_at DESC LIMIT 1"
_NAMES = "SELECT user_id, username FROM {users} WHERE user_id = ANY(%(user_ids)s::uuid[])"


class LoginRow(msgspec.Struct, frozen=True, kw_only=True):
    at: datetime
    # Type of the event, or `session.expired`.
    event: str
    user_id: str
    username: str | None
    session_id: str
    device: str | None
    address: str | None
    new_device: bool | None
    second_factor: bool | None
    reason: str | None
    note: str | None
    actor: str | None
    # Of the event; for an expired session, of its last event.
    sequence: int


class FailureRow(msgspec.Struct, frozen=True, kw_only=True):
    at: datetime
    # None: no account has the login.
    user_id: str | None
    device: str | None
    address: str | None
    reason: str
    count: int
    sequence: int


class _UserId(msgspec.Struct, frozen=True):
    user_id: str


class _Name(msgspec.Struct, frozen=True):
    user_id: str
    username: str | None


class LoginQueries:
    def __init__(self, read_models: ReadModels) -> None:
        self._read_models = read_models

    async def logins(
        self,
        query: Query,
        *,
        user_id: str | None,
        session_id: str | None,
        before: tuple[datetime, int] | None,
        now: datetime,
        limit: int,
    ) -> list[LoginRow]:
        """Rows of sessions below `before` (a time and a sequence), the newest first; the user is `user_id`."""
        events = "" if query.refreshes else _WITHOUT_REFRESHES
        if query.reason is not None:
            events += " AND a.reason = %(reason)s"
        expiries = "" if query.reason in (None, EXPIRED) else "AND false"
        sql = _LOGINS.replace("<events>", events).replace("<expiries>", expiries)
        for table in "al":
            whose = "" if user_id is None else f"AND {table}.user_id = %(user_id)s"
            if session_id is not None:
                whose += _OF_SESSION.replace("{table}", table)
            sql = sql.replace(f"<whose {table}>", whose)
        params = _params(query, user_id, before, limit) | {"session_id": session_id, "now": now}
        return await self._read_models.select(_AUDIT, LoginRow, _with_origin(sql, query, _OF_LOGIN), params)

    async def failures(
        self, query: Query, *, user_id: str | None, before: tuple[datetime, int] | None, limit: int
    ) -> list[FailureRow]:
        """Failed logins below `before` (a time and a sequence), the newest first; to the account `user_id`."""
        sql = _FAILED.replace("<whose l>", "" if user_id is None else "AND l.user_id = %(user_id)s")
        sql = sql.replace("<reason>", "" if query.reason is None else "AND l.reason = %(reason)s")
        params = _params(query, user_id, before, limit)
        return await self._read_models.select(_FAILURES, FailureRow, _with_origin(sql, query, _OF_FAILURE), params)

    async def user_id_of(self, user: str) -> str | None:
        """Resolves an id or username to a user id; None if no user of that name has logged in or registered."""
        if is_id(user.lower()):
            return user.lower()
        params = {"username": user.lower()}
        users = await self._read_models.select(_AUDIT, _UserId, _USER, params)
        users = users or await self._read_models.select(_USERS, _UserId, _ACCOUNT, params)
        return users[0].user_id if users else None

    async def usernames(self, user_ids: Collection[str]) -> dict[str, str | None]:
        """The usernames of accounts, as far as they are known."""
        if not user_ids:
            return {}
        names = await self._read_models.select(_USERS, _Name, _NAMES, {"user_ids": list(user_ids)})
        return {name.user_id: name.username for name in names}


def _with_origin(sql: str, query: Query, columns: Mapping[str, str]) -> str:
    device = "" if query.device is None else _FROM_DEVICE.replace("{device}", columns["device"])
    network = "" if query.network is None else _FROM_NETWORK.replace("{network}", columns["network"])
    return sql.replace("<origin>", f"{device} {network}")


def _params(
    query: Query, user_id: str | None, before: tuple[datetime, int] | None, limit: int
) -> dict[str, str | int | datetime | None]:
    return {
        "user_id": user_id,
        "since": query.since or "-infinity",
        "before_at": before[0] if before else "infinity",
        "before_sequence": before[1] if before else 0,
        "device": query.device,
        "network": None if query.network is None else str(query.network),
        "reason": query.reason,
        "limit": limit,
    }
