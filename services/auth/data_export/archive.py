"""Writes a ZIP file as a stream: each entry is compressed in a thread, and whole parts are stored after it."""

import asyncio
from datetime import UTC, datetime
from typing import IO, cast
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from services.auth.data_export.store import FileWriter

# Readable by their owner alone, once unpacked.
_MODE = 0o600 << 16


class Archive:
    """Memory: one entry, the part in progress, and the file's table of contents."""

    def __init__(self, writer: FileWriter, at: datetime) -> None:
        """`at`: time of the entries."""
        self._writer = writer
        self._at = at.astimezone(UTC).timetuple()[:6]
        # Without `tell`, the writer is treated as a stream: sizes follow the entries.
        self._zip = ZipFile(cast(IO[bytes], writer), "w", ZIP_DEFLATED)

    async def add(self, name: str, content: bytes) -> None:
        """
        Raises:
            TooLarge: the file has reached its greatest size.
            Unavailable: the parts cannot be stored now.
        """
        entry = ZipInfo(name, self._at)
        entry.compress_type = ZIP_DEFLATED
        entry.external_attr = _MODE
        await asyncio.to_thread(self._zip.writestr, entry, content)
        await self._writer.flush_parts()

    async def finish(self) -> None:
        """Raises as `add`."""
        await asyncio.to_thread(self._zip.close)
        await self._writer.flush_parts(last=True)

    def abandon(self) -> None:
        """Ends a file that is not complete; nothing more is stored.

        The ZIP file is not closed: after a cancellation, a thread may still write an entry.
        """
        self._writer.ignore()
