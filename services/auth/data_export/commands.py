"""Load, decide, append: requests copies of a user's data, lists them, and reads their files."""

from collections.abc import Callable
from datetime import datetime, timedelta

from contracts import envelope
from contracts.envelope import Provenance
from contracts.errors import DataExportExpired, DataExportNotFound, Unavailable
from contracts.positions import Position
from contracts.subjects import AUTH
from contracts.values.ids import new_id
from services.auth.data_export import domain
from services.auth.data_export.domain import LIFETIME, DataExport
from services.auth.data_export.store import LOST, FileStore
from services.auth.repositories import Aggregates

# A part that a replica does not have this long after the file was complete is lost.
_REPLICATED = timedelta(minutes=10)


class DataExportCommands:
    def __init__(
        self, aggregates: Aggregates, store: FileStore, *, clock: Callable[[], datetime] = envelope.now
    ) -> None:
        self._exports = aggregates.data_exports
        self._store = store
        self._clock = clock

    async def request(
        self, user_id: str, session_id: str, seen: Position, provenance: Provenance
    ) -> tuple[str, Position]:
        """Requests a copy; returns its id. `seen`: what it has to contain at least.

        Raises:
            RateLimited: the previous one was requested within a day.
        """
        export_id = new_id()
        outcome = await self._exports.execute(
            user_id,
            lambda state: domain.decide_request(state, export_id, session_id, seen.encode(), self._clock()),
            provenance,
        )
        return export_id, Position.at(AUTH, outcome.sequence)

    async def recent(self, user_id: str) -> tuple[list[DataExport], Position]:
        """Returns the copies that the user requested in the last days, newest first."""
        loaded = await self._exports.load(user_id)
        return list(reversed(loaded.state.recent)), Position.at(AUTH, loaded.sequence)

    async def open(
        self, user_id: str, export_id: str, session_id: str, provenance: Provenance
    ) -> tuple[DataExport, Position]:
        """Returns the copy; records the download if it is ready.

        Raises:
            DataExportNotFound: the user did not request it in the last days.
            DataExportExpired: it could be downloaded for a day.
            DataExportNotMade: it could not be made.
        """
        outcome = await self._exports.execute(
            user_id,
            lambda state: domain.decide_download(state, export_id, session_id, self._clock()),
            provenance,
        )
        return outcome.state.find(export_id), Position.at(AUTH, outcome.sequence)

    async def read(self, user_id: str, export_id: str, part: int) -> bytes:
        """Reads a part of the file.

        Raises:
            DataExportNotFound: there is no such part of a file.
            DataExportExpired: as `open`, or the file is lost.
            DataExportNotMade: as `open`.
            Unavailable: the store does not answer.
        """
        known = self._exports.cached(user_id)
        export = (
            next((export for export in known.state.recent if export.export_id == export_id), None) if known else None
        )
        if export is None or export.file is None:
            export = (await self._exports.load(user_id)).state.find(export_id)
        now = self._clock()
        stored = domain.file_of(export, now)
        if stored is None or part >= stored.parts:
            raise DataExportNotFound
        content = await self._store.read(user_id, stored.file_id, part)
        if content is None:
            raise DataExportExpired(LOST) if now >= stored.expires_at - LIFETIME + _REPLICATED else Unavailable
        return content
