"""Acts that wait in a file of the secrets folder until they can be appended to the stream OPERATOR.

Some commands must work while NATS is away, or while the streams must not be appended to: before an import, or during
one. Each line is an append with its event, whose id was made when it was decided. Appending it again changes nothing,
so a run that was interrupted is repeated whole.
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
from contracts.subjects import AUTH, OPERATOR
from infra.runtime.import_marker import get_import_marker
from streams.jetstream.api import JetStream, Refused
from streams.jetstream.requests import RequestFailed
from streams.log import Append, Conflict, Log

log = logging.getLogger(__name__)
FILE = "operator-actions.jsonl"


class _Line(msgspec.Struct, frozen=True):
    subject: str
    envelope: Envelope


class PendingActions:
    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE

    def add(self, append: Append) -> None:
        """Stores an event durably; its condition is derived when it is appended.

        Raises:
            OSError: it is not stored.
        """
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        line = msgspec.json.encode({"subject": append.subject, "envelope": append.envelope}) + b"\n"
        with _Held(self._path) as descriptor:
            os.write(descriptor, line)
            os.fsync(descriptor)
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    async def flush(self, stream: Log) -> int:
        """Appends the stored events in order, and removes them; returns how many there were.

        Raises:
            VestnikError: some are not appended; all are still stored.
            OSError: the file cannot be read or changed.
        """
        if not self._path.exists():
            return 0
        with await asyncio.to_thread(_Held, self._path) as descriptor:
            lines = list(map(_line, _content(descriptor).splitlines()))
            for line in lines:
                if line is not None:
                    await _append(stream, line)
            os.ftruncate(descriptor, 0)
            os.fsync(descriptor)
        return len(lines)


class _Held:
    """The file, open and locked against other processes; readable by its owner alone."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)

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


def _line(text: bytes) -> _Line | None:
    """The line; None if it is damaged: a power failure may have cut the last one off, whose act was then not done."""
    try:
        return msgspec.json.decode(text, type=_Line)
    except msgspec.DecodeError as error:
        log.warning("a line of %s cannot be read and is dropped: %s", FILE, error)
        return None


async def _append(stream: Log, line: _Line) -> None:
    """Appends the event on the condition that follows from its version: of the same event again, nothing happens."""
    expected = 0
    if line.envelope.version > 1:
        first = await stream.read(line.subject, limit=1)
        expected = first[0].sequence if first else 0
    try:
        await stream.append(Append(subject=line.subject, expected=expected, envelope=line.envelope))
    except Conflict as conflict:
        # Only a changed file can do that.
        log.warning("an event of %s is not appended: %s", FILE, conflict)
