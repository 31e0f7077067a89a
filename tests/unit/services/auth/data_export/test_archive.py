"""The ZIP file that is written as a stream."""

import asyncio
import io
import threading
import zipfile
from datetime import UTC, datetime

import pytest

from services.auth.data_export.archive import Archive
from services.auth.data_export.store import PART_BYTES, FileStore, FileWriter, TooLarge

AT = datetime(2026, 12, 1, 12, 30, 10, tzinfo=UTC)


class Parts(FileStore):
    """Keeps the parts in memory."""

    def __init__(self, most_bytes: int = 64 * 1024**2) -> None:
        self.most_bytes = most_bytes
        self.parts: list[bytes] = []

    async def write(self, user_id: str, file_id: str, part: int, content: bytes) -> None:
        assert part == len(self.parts)
        self.parts.append(content)


def noise(size: int) -> bytes:
    """Bytes that hardly compress."""
    return b"".join(hash(("x", number)).to_bytes(8, "big", signed=True) for number in range(size // 8))


async def test_entries_arrive_whole_in_parts_of_one_size() -> None:
    parts = Parts()
    writer = parts.new_file("anna")
    archive = Archive(writer, AT)
    entries = {"a.json": b"[]", "b/c.json": noise(3 * PART_BYTES), "ü.html": b"<p>" * 100_000}
    for name, content in entries.items():
        await archive.add(name, content)
    assert len(parts.parts) >= 3
    assert writer.size - sum(map(len, parts.parts)) < PART_BYTES
    await archive.finish()
    assert {len(part) for part in parts.parts[:-1]} == {PART_BYTES}
    assert (writer.parts, writer.size) == (len(parts.parts), sum(map(len, parts.parts)))
    with zipfile.ZipFile(io.BytesIO(b"".join(parts.parts))) as zip_file:
        assert zip_file.testzip() is None
        assert {name: zip_file.read(name) for name in zip_file.namelist()} == entries
        assert {entry.date_time for entry in zip_file.infolist()} == {(2026, 12, 1, 12, 30, 10)}


async def test_a_file_beyond_its_greatest_size_is_refused_and_can_be_abandoned() -> None:
    parts = Parts(most_bytes=PART_BYTES)
    archive = Archive(FileWriter(parts, "anna", "file"), AT)
    with pytest.raises(TooLarge):
        await archive.add("a", noise(2 * PART_BYTES))
    archive.abandon()
    assert sum(map(len, parts.parts)) <= PART_BYTES


class SlowWriter(FileWriter):
    """Writes once `may_go_on` is set."""

    def __init__(self, store: FileStore) -> None:
        super().__init__(store, "anna", "file")
        self.has_begun, self.may_go_on = threading.Event(), threading.Event()

    def write(self, content: bytes) -> int:
        self.has_begun.set()
        assert self.may_go_on.wait(60)
        return super().write(content)


async def test_a_file_can_be_abandoned_while_a_thread_still_writes_an_entry() -> None:
    parts = Parts()
    writer = SlowWriter(parts)
    archive = Archive(writer, AT)
    adding = asyncio.create_task(archive.add("a", noise(2 * PART_BYTES)))
    try:
        assert await asyncio.to_thread(writer.has_begun.wait, 60)
        adding.cancel()
        await asyncio.wait({adding})
        archive.abandon()
    finally:
        writer.may_go_on.set()
    assert adding.cancelled()
    await writer.flush_parts(last=True)
    assert parts.parts == []
