"""A session service in which no user has a session."""

from collections.abc import Awaitable, Callable
from datetime import datetime

from contracts.envelope import Provenance
from contracts.events.user import PasswordChanged, PasswordVoided
from contracts.positions import Position
from contracts.rpc.vestnik.session.v1 import Tokens
from services.auth.clients import Sessions


class NoSessions(Sessions):
    """Answers as the session service does, and stores nothing: a login gets tokens, an end finds no session."""

    def __init__(self, meanwhile: Callable[[], Awaitable[object]] | None = None) -> None:
        """`meanwhile`: happens before a login gets its tokens."""
        self._meanwhile = meanwhile
        # Of each login whether its device was new, and whether it had a second factor.
        self.logins: list[tuple[bool, bool]] = []

    async def create(
        self,
        *,
        user_id: str,
        username: str,
        device: str,
        address: str,
        credential: int,
        new_device: bool,
        second_factor: bool,
        session_id: str = "",
    ) -> Tokens:
        if self._meanwhile is not None:
            await self._meanwhile()
        self.logins.append((new_device, second_factor))
        return Tokens(user_id=user_id, session_id="session")

    async def end(self, *, user_id: str, session_id: str, reason: str) -> None:
        pass

    async def end_older(
        self, *, user_id: str, event: PasswordChanged | PasswordVoided, provenance: Provenance
    ) -> Position:
        return Position()

    async def end_all(self, *, user_id: str, reason: str, provenance: Provenance) -> Position:
        return Position()

    async def logged_in_between(self, user_id: str, after: datetime, before: datetime, position: Position) -> bool:
        return False
