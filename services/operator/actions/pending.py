"""Acts that wait in a file of the secrets folder until they can be appended to the stream OPERATOR.

Some commands must work while NATS is away, or while the streams must not be appended to: before an import, or during
one. Each line is an append with its event, whose id was made when it was decided. Appending it again changes nothing,
so a run that was interrupted is repeated whole. What cannot be read is kept in a second file.
"""

import asyncio
import fcntl
import logging
import os
from pathlib import Path

import msgspec
from nats.aio.client import Client as NATS

from contracts.envelope import Envelope
from contracts.errors import Unavailable
from contracts.subjects import AUTH, OPERATOR, operator_action
from contracts.values.ids import is_id
from infra.durable_files import sync_folder
from infra.runtime.import_marker import get_import_marker
from streams.jetstream.api import JetStream, Refused
from streams.jetstream.requests import RequestFailed
from streams.log import Append, Conflict, Log

log = logging.getLogger(__name__)
FILE = "operator-actions.jsonl"
# Lines that are no events of operators' acts.
DAMAGED = f"{FILE}.damaged"


class _Line(msgspec.Struct, frozen=True):
    subject: str
    envelope: Envelope


class PendingActions:
    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._damaged = folder / DAMAGED

    def add(self, append: Append) -> None:
        """Stores an event durably; its condition is derived when it is appended.

        Raises:
            OSError: it is not stored.
        """
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        line = msgspec.json.encode({"subject": append.subject, "envelope": append.envelope})
        with _Held(self._path) as descriptor:
            _add_line(descriptor, line)
        sync_folder(self._path.parent)

    async def flush(self, stream: Log) -> int:
        """Appends the stored events in order, and removes them; returns how many there were.

        Raises:
            VestnikError: some are not appended; all are still stored.
            OSError: the file cannot be read or changed.
        """
        try:
            # Without opening it: an empty file of another user stops nobody.
            if self._path.stat().st_size == 0:
                return 0
        except FileNotFoundError:
            return 0
        with await asyncio.to_thread(_Held, self._path) as descriptor:
            texts = _content(descriptor).splitlines()
            damaged = []
            for text in texts:
                line = _line(text)
                if line is None:
                    damaged.append(text)
                else:
                    await _append(stream, line)
            if damaged:
                self._keep(damaged)
            os.ftruncate(descriptor, 0)
            os.fsync(descriptor)
        return len(texts)

    def _keep(self, damaged: list[bytes]) -> None:
        with _Held(self._damaged) as descriptor:
            _add_line(descriptor, b"\n".join(damaged))
        sync_folder(self._damaged.parent)
        log.warning("%d lines of %s cannot be read and are now in %s", len(damaged), FILE, DAMAGED)


class _Held:
    """The file, open and locked against other processes; readable by its owner alone, who is the folder's owner."""

    def __init__(self, path: Path) -> None:
        # Not through a link: root must not write to a file that the folder's owner chooses, or give it away.
        self._descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            file, folder = os.fstat(self._descriptor), path.parent.stat()
            if os.getuid() == 0 and file.st_uid == 0 != folder.st_uid and file.st_nlink == 1:
                os.fchown(self._descriptor, folder.st_uid, folder.st_gid)
        except OSError:
            os.close(self._descriptor)
            raise

    def __enter__(self) -> int:
        return self._descriptor

    def __exit__(self, *raised: object) -> None:
        # Closing releases the lock.
        os.close(self._descriptor)


async def can_append(nc: NATS) -> bool:
    """Whether events may be appended to OPERATOR now: not during an import, and not to an empty system, which an import
    may be about to fill.

    Raises:
        Unavailable: NATS does not answer.
    """
    jetstream = JetStream(nc)
    try:
        if await get_import_marker(jetstream) is not None:
            return False
        return bool(await jetstream.last_sequence(AUTH)) and await jetstream.last_sequence(OPERATOR) is not None
    except (RequestFailed, Refused) as failure:
        raise Unavailable from failure


def _content(descriptor: int) -> bytes:
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0)


def _add_line(descriptor: int, line: bytes) -> None:
    """Writes a line durably, wholly or not at all; not behind a line that a power failure has cut off.

    Raises:
        OSError: it is not stored.
    """
    size = os.fstat(descriptor).st_size
    cut = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
    left = memoryview((b"\n" if cut else b"") + line + b"\n")
    try:
        while left:
            left = left[os.write(descriptor, left) :]
        os.fsync(descriptor)
    except OSError:
        os.ftruncate(descriptor, size)
        raise


def _line(text: bytes) -> _Line | None:
    """The line; None if it is damaged: a power failure may have cut the last one off, whose act was then not done."""
    try:
        line = msgspec.json.decode(text, type=_Line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    prefix = operator_action("")
    return line if line.subject.startswith(prefix) and is_id(line.subject.removeprefix(prefix)) else None


async def _append(stream: Log, line: _Line) -> None:
    """Appends the event behind those of its act; of the same event again, nothing happens.

    Raises:
        VestnikError: it is not appended.
    """
    events = await stream.read(line.subject)
    if any(event.envelope().id == line.envelope.id for event in events):
        return
    expected = events[-1].sequence if events else 0
    try:
        await stream.append(Append(subject=line.subject, expected=expected, envelope=line.envelope))
    except (Conflict, Refused, RequestFailed, ValueError) as failure:
        raise Unavailable(f"an event of {FILE} is not appended: {failure}") from failure
