"""Reaction to the erasure of an account: ends its sessions, and removes what was stored of it outside of the streams.

Auth's own command ends the sessions synchronously; this covers the case that its process or the session service was
down then. The keys of the personal data are destroyed by a reaction of their own (data_keys/).
"""

from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from contracts import envelope
from contracts.durable_consumers import ERASURES
from contracts.envelope import Provenance, Recorded
from contracts.events.user import UserErased, UserErasureRequested
from services.auth.clients import Sessions
from services.auth.data_export.store import FileStore
from services.auth.domain import ACCOUNT_ERASED, ERASURE_REQUESTED
from services.auth.repositories import Aggregates
from streams.reactions.reaction import Reaction, reacts_to


class WrittenMails(Protocol):
    """The folder of mails, where there is no mail server."""

    async def remove_of(self, user_id: str) -> None:
        """Removes the mails that were written for the user. Repeatable."""


class Drafts(Protocol):
    """The drafts of users, which messaging keeps."""

    async def remove_of(self, user_id: str) -> None:
        """Removes the user's drafts. Repeatable."""


class AccountEndings(Reaction):
    durable = ERASURES

    def __init__(
        self,
        aggregates: Aggregates,
        sessions: Sessions,
        drafts: Drafts,
        files: FileStore,
        mails: WrittenMails | None,
        *,
        clock: Callable[[], datetime] = envelope.now,
    ) -> None:
        """`mails`: None if mails are not written to a folder."""
        self._aggregates = aggregates
        self._sessions = sessions
        self._drafts = drafts
        self._files = files
        self._mails = mails
        self._clock = clock

    @reacts_to(UserErasureRequested)
    async def requested(self, event: Recorded[UserErasureRequested]) -> None:
        user = (await self._aggregates.users.load(event.aggregate_id)).state
        # A login has cancelled it otherwise, and its session stays.
        if user.erase_at == event.data.erase_at:
            await self._end_sessions(event, ERASURE_REQUESTED)

    @reacts_to(UserErased)
    async def erased(self, event: Recorded[UserErased]) -> None:
        """
        Raises:
            VestnikError: a service or the store does not answer; what is done is repeated.
        """
        user_id = event.aggregate_id
        await self._end_sessions(event, ACCOUNT_ERASED)
        await self._drafts.remove_of(user_id)
        for export in (await self._aggregates.data_exports.load(user_id)).state.recent:
            if export.file is not None and self._clock() < export.file.expires_at:
                await self._files.remove(export.file.file_id, export.file.parts)
        if self._mails is not None:
            await self._mails.remove_of(user_id)

    async def _end_sessions(self, event: Recorded[UserErasureRequested] | Recorded[UserErased], reason: str) -> None:
        provenance = Provenance.caused_by(event, actor=event.actor)
        await self._sessions.end_all(user_id=event.aggregate_id, reason=reason, provenance=provenance)
