"""What an erased account leaves outside of the batch that erased it: keys, sessions, drafts, files and mails.

The reaction to the erasure removes it, and the sweep does so again before it completes the erasure: so an erasure is
not complete while something is left, whatever became of the reaction.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from contracts import envelope
from contracts.envelope import Provenance
from services.auth.clients import Sessions
from services.auth.data_export.store import FileStore
from services.auth.domain import ACCOUNT_ERASED
from services.auth.repositories import Aggregates


class WrittenMails(Protocol):
    """The folder of mails, where there is no mail server."""

    async def remove_of(self, user_id: str) -> None:
        """Removes the mails that were written for the user. Repeatable."""


class Drafts(Protocol):
    """The drafts of users, which messaging keeps."""

    async def remove_of(self, user_id: str) -> None:
        """Removes the user's drafts. Repeatable."""


class PersonKeys(Protocol):
    """The keys of persons."""

    async def destroy_person(self, user_id: str) -> None:
        """Destroys the person's key. Repeatable."""


class Removal:
    def __init__(
        self,
        aggregates: Aggregates,
        keys: PersonKeys,
        sessions: Sessions,
        drafts: Drafts,
        files: FileStore,
        mails: WrittenMails | None,
        *,
        clock: Callable[[], datetime] = envelope.now,
    ) -> None:
        """`mails`: None if mails are not written to a folder."""
        self._aggregates = aggregates
        self._keys = keys
        self._sessions = sessions
        self._drafts = drafts
        self._files = files
        self._mails = mails
        self._clock = clock

    async def remove(self, user_id: str, provenance: Provenance) -> None:
        """Removes all that is left of the erased user. Repeatable.

        The steps do not wait for each other: one that fails leaves the others done.

        Raises:
            VestnikError: a service or a store does not answer; something may be left.
        """
        steps = [
            # The reaction to the end of keys does this too, but behind the keys of months that retention ends.
            self._keys.destroy_person(user_id),
            self._sessions.end_all(user_id=user_id, reason=ACCOUNT_ERASED, provenance=provenance),
            self._drafts.remove_of(user_id),
            self._remove_files(user_id),
        ]
        if self._mails is not None:
            steps.append(self._mails.remove_of(user_id))
        for outcome in await asyncio.gather(*steps, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome

    async def _remove_files(self, user_id: str) -> None:
        for export in (await self._aggregates.data_exports.load(user_id)).state.recent:
            if export.file is not None and self._clock() < export.file.expires_at:
                await self._files.remove(export.file.file_id, export.file.parts)
