"""Writes every signed record to a folder too, one JSON object per line and a file per day.

The folder should be out of reach of the servers' owners, such as a mounted share that only grows. The last line names
the last record that was written, so nothing is missing after an outage; a record may be there twice. If NOTARY has
another record there, all of NOTARY is written again, after a critical message.
"""

import asyncio
import fcntl
import logging
import math
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
from nats.aio.client import Client

from contracts.errors import VestnikError, error_text
from contracts.events.notary import TreeClosed, TreeHeadSigned
from contracts.subjects import NOTARY
from infra import durable_files
from infra.security.notary.keys import NotaryKeys
from services.notary.metrics import PUBLICATION_UP, PUBLISHED
from streams.jetstream.api import JetStream, Refused
from streams.jetstream.requests import RequestFailed
from streams.message import Message
from streams.reader import Reader, StreamWentBack
from streams.topology import StreamMissing

log = logging.getLogger(__name__)
KEYS = "keys.json"
_BATCH = 1_000
# Seconds before the next attempt after an error.
_PAUSE = 5.0
# Bytes from the end of a file among which its last line is.
_TAIL = 64 * 1024
# Not signed, and only of use for growing and reading trees.
_LEFT_OUT = {"settled", "first_sequence", "last_leaf", "frontier", "tiles", "state_signature"}


class _Line(msgspec.Struct, frozen=True):
    # In the stream NOTARY.
    sequence: int
    # Of the event.
    id: str


_LINE = msgspec.json.Decoder(_Line)


class Publication:
    def __init__(self, nc: Client, folder: Path, keys: NotaryKeys) -> None:
        self._nc = nc
        self._folder = folder
        self._keys = keys
        # A record could not be read and is not in the folder.
        self._left_out = False

    async def run(self) -> None:
        """Follows NOTARY until it is cancelled; repeats what fails."""
        failed = ""
        while True:
            try:
                await self._follow()
            except (OSError, VestnikError, Refused, RequestFailed, StreamMissing, StreamWentBack) as failure:
                PUBLICATION_UP.set(0)
                if str(failure) != failed:
                    log.error("signed heads cannot be written to %s: %s", self._folder, error_text(failure))
                failed = str(failure)
            await asyncio.sleep(_PAUSE)

    async def _follow(self) -> None:
        # Whether it can be written to shows before there is a new record.
        await asyncio.to_thread(self._write, [])
        after = await self._published()
        self._report_up()
        reader = Reader(
            self._nc,
            NOTARY,
            after=after,
            name="notary-publication",
            patience=math.inf,
            outlasts_refusals=True,
        )
        async with reader:
            async for batch in reader.batches(limit=_BATCH):
                await asyncio.to_thread(self._write, batch.messages)
                self._report_up()
                PUBLISHED.inc(len(batch.messages))

    def _report_up(self) -> None:
        PUBLICATION_UP.set(0 if self._left_out else 1)

    async def _published(self) -> int:
        """The sequence of the last record in the folder; 0 if NOTARY has another there, as after a restored copy."""
        last = await asyncio.to_thread(_last_line, self._folder)
        if last is None:
            return 0
        message = await JetStream(self._nc).at(NOTARY, last.sequence)
        if message is not None and _id_of(message) == last.id:
            return last.sequence
        log.critical(
            "%s does not have the record %s at %d that is in %s: unless a copy of the streams was restored, it was "
            "rewritten. All of it is written to the folder again",
            NOTARY,
            last.id,
            last.sequence,
            self._folder,
        )
        return 0

    def _write(self, messages: list[Message]) -> None:
        """Appends the records durably; the keys are there before the first record that they signed.

        Raises:
            OSError: the folder cannot be written to; some of the records may be there.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            keys, jwks = self._folder / KEYS, self._keys.jwks
            if not keys.exists() or keys.read_bytes() != jwks:
                durable_files.replace(keys, jwks, mode=durable_files.PUBLIC)
            by_day: dict[str, list[bytes]] = {}
            for message in messages:
                try:
                    day, line = _line_of(message)
                except (LookupError, msgspec.MsgspecError) as error:
                    self._left_out = True
                    log.error("the record at %d in %s is not published: %s", message.sequence, NOTARY, error)
                    continue
                by_day.setdefault(day, []).append(line)
            for day, lines in by_day.items():
                _append(self._folder / f"heads-{day}.jsonl", lines)


def _line_of(message: Message) -> tuple[str, bytes]:
    """The record's day (`YYYY-MM-DD`) and its JSON line."""
    event = message.open()
    fields: dict[str, object] = {"sequence": message.sequence, "id": event.id, "type": event.type}
    if isinstance(event.data, TreeHeadSigned | TreeClosed):
        record = msgspec.to_builtins(event.data)
        fields |= {name: value for name, value in record.items() if name not in _LEFT_OUT}
    return event.at.date().isoformat(), msgspec.json.encode(fields) + b"\n"


def _id_of(message: Message) -> str | None:
    try:
        return message.event_id()
    except msgspec.MsgspecError:
        return None


def _append(path: Path, lines: list[bytes]) -> None:
    with path.open("ab") as file:
        if file.tell() and _tail(path)[-1:] != b"\n":
            # The last line was cut off by a crash, and is written again after it.
            file.write(b"\n")
        file.write(b"".join(lines))
        file.flush()
        os.fsync(file.fileno())


def _last_line(folder: Path) -> _Line | None:
    """The last whole line of the newest file that has one."""
    for path in sorted(folder.glob("heads-*.jsonl"), reverse=True):
        for line in _whole_lines(_tail(path)):
            try:
                return _LINE.decode(line)
            except msgspec.DecodeError:
                continue
    return None


def _whole_lines(tail: bytes) -> Iterator[bytes]:
    """Yields the lines that end with a line feed, the last one first."""
    yield from reversed(tail.split(b"\n")[:-1])


def _tail(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - _TAIL))
        return file.read()
