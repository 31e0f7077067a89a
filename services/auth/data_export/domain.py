"""Decisions about the copies of their data that a user requests, without I/O.

A copy expires by the clock, without an event: its stored parts expire too.
"""

from datetime import datetime, timedelta
from math import ceil
from typing import Literal, TypeAlias

import msgspec

from contracts.errors import DataExportExpired, DataExportNotFound, DataExportNotMade, RateLimited
from contracts.events.data_export import (
    DataExportDownloaded,
    DataExportFailed,
    DataExportMade,
    DataExportRequested,
)
from contracts.events.event import Event

INTERVAL = timedelta(days=1)
# Of a finished file. One that is not made within this time counts as failed.
LIFETIME = timedelta(days=1)
# Reasons of a failure: the file would be larger than the installation allows; the account is gone.
TOO_LARGE, NO_ACCOUNT = "too_large", "no_account"
# Requests that the state keeps.
_KEPT = timedelta(days=3)

State: TypeAlias = Literal["making", "ready", "expired", "failed"]


class StoredFile(msgspec.Struct, frozen=True, kw_only=True):
    file_id: str
    parts: int
    # In bytes.
    size: int
    expires_at: datetime


class DataExport(msgspec.Struct, frozen=True, kw_only=True):
    export_id: str
    requested_at: datetime
    file: StoredFile | None = None
    # Why it cannot be made; None: it can.
    failure: str | None = None
    # Sessions that began to download it.
    downloaded_by: tuple[str, ...] = ()

    def state_at(self, now: datetime) -> State:
        if self.file is not None:
            return "ready" if now < self.file.expires_at else "expired"
        return "failed" if self.failure is not None or now >= self.requested_at + LIFETIME else "making"


class DataExports(msgspec.Struct, frozen=True, kw_only=True):
    """The copies that were requested in the last days, oldest first."""

    recent: tuple[DataExport, ...] = ()

    def find(self, export_id: str) -> DataExport:
        """
        Raises:
            DataExportNotFound: the user did not request it in the last days.
        """
        for export in self.recent:
            if export.export_id == export_id:
                return export
        raise DataExportNotFound

    def _with(self, export_id: str, **changes: object) -> "DataExports":
        changed = tuple(
            msgspec.structs.replace(export, **changes) if export.export_id == export_id else export
            for export in self.recent
        )
        return DataExports(recent=changed)


def evolve(state: DataExports, event: Event, at: datetime) -> DataExports:
    match event:
        case DataExportRequested(export_id=export_id):
            kept = [export for export in state.recent if at - export.requested_at < _KEPT]
            return DataExports(recent=(*kept, DataExport(export_id=export_id, requested_at=at)))
        case DataExportMade(export_id=export_id, file_id=file_id, parts=parts, size=size):
            stored = StoredFile(file_id=file_id, parts=parts, size=size, expires_at=at + LIFETIME)
            return state._with(export_id, file=stored)
        case DataExportFailed(export_id=export_id, reason=reason):
            return state._with(export_id, failure=reason)
        case DataExportDownloaded(export_id=export_id, session_id=session_id):
            sessions = [export.downloaded_by for export in state.recent if export.export_id == export_id]
            return state._with(export_id, downloaded_by=(*sum(sessions, ()), session_id))
        case _:
            return state


def decide_request(
    state: DataExports, export_id: str, session_id: str, position: str, now: datetime
) -> tuple[Event, ...]:
    """Requests a copy.

    Raises:
        RateLimited: the previous one was requested within a day, whatever became of it.
    """
    if state.recent and (wait := state.recent[-1].requested_at + INTERVAL - now) > timedelta():
        raise RateLimited("A copy of your data can be requested once a day.", retry_after=ceil(wait.total_seconds()))
    return (DataExportRequested(export_id=export_id, session_id=session_id or None, position=position),)


def is_wanted(state: DataExports, export_id: str, now: datetime) -> bool:
    """Whether the file has to be made."""
    return any(export.export_id == export_id and export.state_at(now) == "making" for export in state.recent)


def decide_made(state: DataExports, made: DataExportMade, now: datetime) -> tuple[Event, ...]:
    """Records the file; no event if another attempt was faster, or it was too late."""
    return (made,) if is_wanted(state, made.export_id, now) else ()


def decide_fail(state: DataExports, export_id: str, reason: str, now: datetime) -> tuple[Event, ...]:
    return (DataExportFailed(export_id=export_id, reason=reason),) if is_wanted(state, export_id, now) else ()


def file_of(export: DataExport, now: datetime) -> StoredFile | None:
    """The file that can be downloaded; None while it is made.

    Raises:
        DataExportExpired: it could be downloaded for a day.
        DataExportNotMade: it could not be made.
    """
    match export.state_at(now):
        case "ready":
            return export.file
        case "expired":
            raise DataExportExpired
        case "failed":
            too_large = export.failure == TOO_LARGE
            raise DataExportNotMade(
                "The copy of your data is larger than this installation allows." if too_large else None
            )
        case _:
            return None


def decide_download(state: DataExports, export_id: str, session_id: str, now: datetime) -> tuple[Event, ...]:
    """Records that the session downloads the file; no event if it has begun to before, or the file is being made.

    Raises:
        DataExportNotFound
        DataExportExpired
        DataExportNotMade
    """
    export = state.find(export_id)
    if file_of(export, now) is None or session_id in export.downloaded_by:
        return ()
    return (DataExportDownloaded(export_id=export_id, session_id=session_id),)
