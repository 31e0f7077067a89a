"""Ends sessions that users got after their erasure, once a minute.

The erasure itself ends all sessions that there are. A later one can only come from an auth of release 0.3, whose login
does not check for erasures, during an upgrade.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from contracts import envelope
from contracts.envelope import Provenance
from contracts.errors import SessionNotFound
from services.session.commands import Commands
from services.session.queries import SessionOfErased
from streams.reactions.sweeps import sweep

# The reason that the erasure gives, too.
REASON = "account_erased"
# Seconds between two sweeps.
_EVERY = 60.0


class SessionReadModel(Protocol):
    """The read model of sessions."""

    async def of_erased_users(self, now: datetime) -> list[SessionOfErased]: ...


class LateSessions:
    def __init__(
        self, commands: Commands, sessions: SessionReadModel, *, clock: Callable[[], datetime] = envelope.now
    ) -> None:
        self._commands = commands
        self._sessions = sessions
        self._clock = clock

    async def run(self) -> None:
        """Sweeps until cancelled."""
        await sweep(
            "sessions of erased users", self.due, self.end, name_of=lambda session: session.session_id, every=_EVERY
        )

    async def due(self) -> list[SessionOfErased]:
        """
        Raises:
            VestnikError: the read model cannot be read.
        """
        return await self._sessions.of_erased_users(self._clock())

    async def end(self, late: SessionOfErased) -> None:
        """Ends the session, unless it has ended.

        Raises:
            VestnikError: the stream does not answer.
        """
        try:
            await self._commands.revoke(late.user_id, late.session_id, REASON, Provenance())
        except SessionNotFound:
            # Ended meanwhile, by another replica for instance.
            return
