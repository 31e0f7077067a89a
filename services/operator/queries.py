"""SQL queries about a person over the read models."""

from collections.abc import Mapping
from datetime import datetime
from typing import TypeVar

import msgspec

from contracts.values.name_matching import normalize
from services.operator.read_models import ReadModels

R = TypeVar("R", bound=msgspec.Struct)

_USER_OF_NAME = "SELECT user_id FROM {profiles} WHERE verified AND username_term = %(username)s LIMIT 1"
# Without an index: users with an unverified address are rarely looked up.
_REGISTERED = "SELECT user_id FROM {users} WHERE username = %(username)s ORDER BY created_at DESC LIMIT 1"
_ACCOUNT = """
SELECT user_id, username, created_at, email_verified FROM {users}
WHERE user_id = %(user_id)s AND created_at IS NOT NULL
"""
_PROFILE = """
SELECT display_name, bio, avatar_url, updated_at FROM {profiles}
WHERE user_id = %(user_id)s AND verified AND sequence IS NOT NULL
"""
_SESSIONS = """
SELECT count(*) FILTER (WHERE revoked_at IS NULL AND expires_at > %(now)s) AS active, count(*) AS total,
    max(created_at) AS last_login_at, max(last_refreshed_at) AS last_refreshed_at
FROM {sessions} WHERE user_id = %(user_id)s
"""
_FRIENDS = """
SELECT count(*) FILTER (WHERE state = 'accepted') AS accepted, count(*) FILTER (WHERE state = 'incoming') AS incoming,
    count(*) FILTER (WHERE state = 'outgoing') AS outgoing
FROM {friends} WHERE user_id = %(user_id)s
"""
# Message sequences have no gaps within a conversation.
_CONVERSATIONS = """
SELECT count(*) FILTER (WHERE open) AS open, count(*) AS total, coalesce(sum(last_sequence), 0)::bigint AS messages,
    coalesce(sum(last_sequence - seen_sequence) FILTER (WHERE open), 0)::bigint AS unread,
    max(activity_at) AS last_activity_at
FROM {conversations} WHERE user_id = %(user_id)s
"""
_NEWEST_SESSIONS = """
SELECT session_id AS id FROM {sessions} WHERE user_id = %(user_id)s
ORDER BY created_at DESC, session_id DESC LIMIT %(limit)s
"""
_NEWEST_FRIENDS = """
SELECT friend_id AS id FROM {friends} WHERE user_id = %(user_id)s AND state <> 'removed'
ORDER BY since DESC, friend_id DESC LIMIT %(limit)s
"""
_NEWEST_PEERS = """
SELECT peer_id AS id FROM {conversations} WHERE user_id = %(user_id)s AND last_sequence > 0
ORDER BY activity_at DESC, peer_id DESC LIMIT %(limit)s
"""


class Account(msgspec.Struct, frozen=True, kw_only=True):
    user_id: str
    username: str | None
    created_at: datetime
    email_verified: bool


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """A person's public profile."""

    display_name: str | None
    bio: str | None
    avatar_url: str | None
    updated_at: datetime


class SessionCounts(msgspec.Struct, frozen=True, kw_only=True):
    active: int
    total: int
    last_login_at: datetime | None
    last_refreshed_at: datetime | None


class FriendCounts(msgspec.Struct, frozen=True, kw_only=True):
    accepted: int
    incoming: int
    outgoing: int


class ConversationCounts(msgspec.Struct, frozen=True, kw_only=True):
    # Between people who are friends now; and all.
    open: int
    total: int
    # In all conversations, of both people.
    messages: int
    unread: int
    last_activity_at: datetime | None


class _Id(msgspec.Struct, frozen=True):
    id: str


class _UserId(msgspec.Struct, frozen=True):
    user_id: str


class PersonQueries:
    def __init__(self, read_models: ReadModels) -> None:
        self._read_models = read_models

    async def user_called(self, username: str) -> str | None:
        """Id of the user with this username, or else of its latest registration; None if there is neither."""
        name = {"username": normalize(username)}
        users = await self._read_models.select("profiles", _UserId, _USER_OF_NAME, name)
        if not users:
            users = await self._read_models.select("users", _UserId, _REGISTERED, {"username": username.lower()})
        return users[0].user_id if users else None

    async def account(self, user_id: str) -> Account | None:
        return await self._one("users", Account, _ACCOUNT, {"user_id": user_id})

    async def profile(self, user_id: str) -> Profile | None:
        return await self._one("profiles", Profile, _PROFILE, {"user_id": user_id})

    async def sessions(self, user_id: str, now: datetime) -> SessionCounts | None:
        return await self._one("sessions", SessionCounts, _SESSIONS, {"user_id": user_id, "now": now})

    async def friends(self, user_id: str) -> FriendCounts | None:
        return await self._one("friends", FriendCounts, _FRIENDS, {"user_id": user_id})

    async def conversations(self, user_id: str) -> ConversationCounts | None:
        return await self._one("conversations", ConversationCounts, _CONVERSATIONS, {"user_id": user_id})

    async def newest_sessions(self, user_id: str, limit: int) -> list[str]:
        return await self._ids("sessions", _NEWEST_SESSIONS, user_id, limit)

    async def newest_friends(self, user_id: str, limit: int) -> list[str]:
        """Ids of friends, and of people with a pending request in either direction."""
        return await self._ids("friends", _NEWEST_FRIENDS, user_id, limit)

    async def newest_peers(self, user_id: str, limit: int) -> list[str]:
        """Ids of the people in the user's conversations that have messages."""
        return await self._ids("conversations", _NEWEST_PEERS, user_id, limit)

    async def _one(self, name: str, row_type: type[R], sql: str, params: Mapping[str, object]) -> R | None:
        rows = await self._read_models.select(name, row_type, sql, params)
        return rows[0] if rows else None

    async def _ids(self, name: str, sql: str, user_id: str, limit: int) -> list[str]:
        rows = await self._read_models.select(name, _Id, sql, {"user_id": user_id, "limit": limit})
        return [row.id for row in rows]
