"""Looks up users in the read model `users`, and in the stream for a user that it does not contain yet."""

import logging
from datetime import datetime

import msgspec

from contracts.errors import UserNotFound, VestnikError
from contracts.positions import Position
from contracts.subjects import AUTH
from projections.engine.read_model import ReadModel
from services.auth.repositories import Aggregates

log = logging.getLogger(__name__)
_USER = """
SELECT username, email, email_verified, created_at, totp
FROM {users}
WHERE user_id = %(user_id)s AND created_at IS NOT NULL AND username IS NOT NULL
"""


class UserRow(msgspec.Struct, frozen=True, kw_only=True):
    username: str
    email: str | None
    email_verified: bool
    created_at: datetime
    totp: bool


class FoundUser(msgspec.Struct, frozen=True, kw_only=True):
    user_id: str
    username: str
    # Shown to the user alone: empty for others.
    email: str
    email_verified: bool
    created_at: datetime
    # Whether the second factor is on; shown to the user alone.
    totp: bool = False
    position: Position


class Queries:
    def __init__(self, users: ReadModel, aggregates: Aggregates) -> None:
        self._users = users
        self._aggregates = aggregates

    async def own_user(self, user_id: str, position: Position) -> FoundUser:
        """Returns the user with their address, at least as of the position.

        Raises:
            UserNotFound: there is no such user.
            ReadModelBehind: the read model has not reached the position or the user's registration.
        """
        await self._users.wait_for(position)
        user = await self._from_read_model(user_id)
        if user is not None:
            return user
        registered = await self._from_stream(user_id)
        # Only the read model has the address: its claim is stored under the address's key, not under the user.
        await self._users.wait_for(registered.position)
        user = await self._from_read_model(user_id)
        if user is None:
            raise UserNotFound
        return user

    async def other_user(self, user_id: str) -> FoundUser:
        """Returns the user without their address, as soon as its verification is acknowledged, and until an erasure is.

        Read from the stream: the read model may lag behind both.

        Raises:
            UserNotFound: there is no such user, or none with a verified address.
        """
        user = await self._from_stream(user_id)
        if not user.email_verified:
            raise UserNotFound
        return user

    async def own_address(self, user_id: str, position: Position) -> str:
        """Returns the user's address, at least as of the position.

        Raises:
            As `own_user`.
        """
        return (await self.own_user(user_id, position)).email

    async def address_of(self, user_id: str) -> str:
        """Returns the user's address once the read model has the registration; empty if that fails.

        Logins and password changes continue without it, so they do not fail when the database does.
        """
        try:
            return (await self.own_user(user_id, Position())).email
        except VestnikError as error:
            log.warning("the address of a user cannot be looked up: %s", error)
            return ""

    async def _from_read_model(self, user_id: str) -> FoundUser | None:
        rows, position = await self._users.select(UserRow, _USER, {"user_id": user_id})
        if not rows:
            return None
        row = rows[0]
        return FoundUser(
            user_id=user_id,
            username=row.username,
            email=row.email or "",
            email_verified=row.email_verified,
            created_at=row.created_at,
            totp=row.totp,
            position=position,
        )

    async def _from_stream(self, user_id: str) -> FoundUser:
        loaded = await self._aggregates.users.load(user_id)
        if loaded.state.created_at is None:
            raise UserNotFound
        return FoundUser(
            user_id=user_id,
            username=loaded.state.username,
            email="",
            email_verified=loaded.state.email_verified,
            created_at=loaded.state.created_at,
            position=Position.at(AUTH, loaded.sequence),
        )
