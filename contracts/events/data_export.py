"""Events of the copies of their data that a user requests.

Aggregate: `data_export` (private), one per user.
"""

from typing import ClassVar

from contracts.events.event import Event


class DataExportRequested(Event, frozen=True, kw_only=True):
    """The user requested a copy; a reaction makes it."""

    TYPE: ClassVar[str] = "data_export.requested"
    PRIVATE: ClassVar[bool] = True
    export_id: str
    # The session in which it was requested.
    session_id: str | None = None
    # What the user had seen by then, encoded: the copy contains at least that.
    position: str = ""


class DataExportMade(Event, frozen=True, kw_only=True):
    """The file is complete and can be downloaded for a day."""

    TYPE: ClassVar[str] = "data_export.made"
    PRIVATE: ClassVar[bool] = True
    export_id: str
    # Names the stored file; each attempt to make one has its own.
    file_id: str
    # How many parts it is stored in, and its length in bytes.
    parts: int
    size: int


class DataExportFailed(Event, frozen=True, kw_only=True):
    """The copy cannot be made."""

    TYPE: ClassVar[str] = "data_export.failed"
    PRIVATE: ClassVar[bool] = True
    export_id: str
    # `too_large`: larger than the installation allows; `no_account`: there is no such account any more
    reason: str


class DataExportDownloaded(Event, frozen=True, kw_only=True):
    """A session began to download the file; recorded once per session."""

    TYPE: ClassVar[str] = "data_export.downloaded"
    PRIVATE: ClassVar[bool] = True
    export_id: str
    session_id: str


DATA_EXPORT_EVENTS = (DataExportRequested, DataExportMade, DataExportFailed, DataExportDownloaded)
