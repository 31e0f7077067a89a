"""Reads an export block by block, and reports damage in it."""

import hashlib
import os
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import IO, NamedTuple, Self

import msgspec

from infra.archive.format.block_index import BlockIndex, StreamOffset
from infra.archive.format.errors import Damage, Damaged, NewerFormat, NotAnExport, Unreadable
from infra.archive.format.layout import (
    BLOCK_MARK,
    END,
    EVENTS,
    HEAD_SIZE,
    HEADER,
    MAGIC,
    MOST_EVENTS,
    PREAMBLE_SIZE,
    VERSION,
    End,
    Head,
    Header,
    decompress,
    version_of,
)
from infra.operator_errors import OperatorError
from streams.restore import ArchivedMessage

# Damages that are reported; further ones are ignored.
_MOST_DAMAGES = 100
# Errors of msgspec for input that it cannot decode.
_UNDECODABLE = (msgspec.DecodeError, UnicodeDecodeError)

_HEADER = msgspec.json.Decoder(Header)
_END = msgspec.json.Decoder(End)
_EVENTS = msgspec.msgpack.Decoder(list[ArchivedMessage])


class Block(NamedTuple):
    """The events of one block: consecutive events of one stream."""

    stream: str
    first: int
    events: list[ArchivedMessage]

    @property
    def last(self) -> int:
        return self.first + len(self.events) - 1


class Reader:
    """An open export: `header`, then one pass over `blocks`."""

    def __init__(self, file: IO[bytes], name: str) -> None:
        """Reads the preamble and the header.

        Raises:
            NotAnExport, NewerFormat, Damage: they are not those of an export that can be read.
        """
        self._file = file
        self.name = name
        self.size = os.fstat(file.fileno()).st_size
        # Bytes read so far.
        self.offset = 0
        self._digest = hashlib.blake2b(digest_size=32)
        self._number = 0
        self._key = b""
        self.end: End | None = None
        self._read_preamble()
        self.header = self._read_header()
        self._index = BlockIndex(self.header)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Opens the file.

        Raises:
            OperatorError: it cannot be opened, or does not begin like an export.
        """
        if path.exists() and not path.is_file():
            # A pipe can be read once only, and an import reads twice: to check, then to append.
            raise OperatorError(f"{path} is not a regular file, which an import needs")
        try:
            file = path.open("rb")
        except OSError as error:
            raise OperatorError(f"cannot read {path}: {error.strerror or error}") from error
        try:
            return cls(file, str(path))
        except BaseException:
            file.close()
            raise

    def close(self) -> None:
        self._file.close()

    def blocks(self, damaged: Callable[[Damage], None]) -> Iterator[Block]:
        """Yields the sound blocks of events in order; passes each damage to `damaged` and reads on where it can."""
        expected = self._index.first()
        try:
            while self.end is None:
                expected = yield from self._one(expected, damaged)
            if self.offset < self.size:
                raise Unreadable(self.offset, "the file continues after its end record")
        except Unreadable as damage:
            damaged(damage)

    def _one(self, expected: StreamOffset, damaged: Callable[[Damage], None]) -> Generator[Block, None, StreamOffset]:
        """Reads the next block; returns the offset expected after it."""
        begin, digest_before = self.offset, self._digest.copy()
        head, content = self._read_block(expected)
        if head.kind != END and (head.kind != EVENTS or not self._index.holds(head)):
            raise Unreadable(begin, f"{self._awaited(expected)} contains unexpected data")
        offset, named = self._index.of(head), self._index.named(head)
        sound = head.matches(content, self._key)
        if head.number < self._number or offset < expected:
            damaged(Damage(begin, f"{named} is out of place here: duplicated or moved"))
            return expected
        if offset > expected:
            damaged(Damage(begin, f"{self._index.span(expected, offset)} is missing here"))
        elif head.number != self._number:
            damaged(Damage(begin, f"{named} has the number of another block"))
        self._number = head.number + 1
        if not sound:
            damaged(Damage(begin, f"{named} is damaged: its content does not match its digest"))
        if head.kind == END:
            if not sound:
                raise Unreadable(self.offset, "nothing can be checked after a damaged end record")
            self.end = self._read_end(begin, content)
            if self.end.digest != digest_before.hexdigest():
                damaged(Damage(begin, "the digest of the whole file does not match its content"))
            return offset
        if sound:
            yield self._opened(begin, head, content)
        return self._index.after(head)

    def _opened(self, begin: int, head: Head, content: bytes) -> Block:
        stream = self.header.streams[head.stream].name
        data = decompress(content, head.unpacked)
        try:
            events = _EVENTS.decode(data or b"")
        except _UNDECODABLE:
            events = []
        if not events or len(events) != head.count or head.count > MOST_EVENTS:
            raise Unreadable(begin, f"{self._index.named(head)} is malformed")
        return Block(stream, head.first, events)

    def _read_preamble(self) -> None:
        data = self._file.read(PREAMBLE_SIZE + len(BLOCK_MARK))
        version = version_of(data)
        if version is None:
            if data.endswith(BLOCK_MARK):
                raise Unreadable(0, "the first bytes of the file are damaged")
            if data and MAGIC.startswith(data[: len(MAGIC)]):
                raise Unreadable(self.size, "the file ends here, within its first bytes")
            raise NotAnExport(self.name, self.size)
        if version > VERSION:
            raise NewerFormat(self.name, version)
        self._file.seek(PREAMBLE_SIZE)
        self._digest = hashlib.blake2b(data[:PREAMBLE_SIZE], digest_size=32)
        self.offset = PREAMBLE_SIZE

    def _read_header(self) -> Header:
        begin = self.offset
        head, content = self._read_block(None)
        if head.kind != HEADER or not head.matches(content, b""):
            raise Unreadable(begin, "the header is damaged")
        self._key = head.digest
        self._number = 1
        try:
            return _HEADER.decode(content)
        except _UNDECODABLE as error:
            raise Unreadable(begin, "the header is malformed") from error

    def _read_block(self, expected: StreamOffset | None) -> tuple[Head, bytes]:
        begin = self.offset
        packed = self._read(HEAD_SIZE, expected)
        head = Head.unpack(packed)
        if head is None:
            raise Unreadable(begin, f"the head of {self._awaited(expected)} is damaged; the rest was not checked")
        return head, self._read(head.stored, expected)

    def _read(self, size: int, expected: StreamOffset | None) -> bytes:
        """Reads exactly `size` bytes.

        Raises:
            Unreadable: the file ends before that, or cannot be read.
        """
        try:
            data = self._file.read(size)
        except OSError as error:
            raise Unreadable(self.offset, f"the file cannot be read here: {error.strerror or error}") from error
        if len(data) < size:
            missing = self._index.span(expected, self._index.end) if expected is not None else ""
            rest = f"; {missing} is missing" if missing else ""
            raise Unreadable(self.size, f"the file ends here, within {self._awaited(expected)}{rest}")
        self._digest.update(data)
        self.offset += len(data)
        return data

    def _awaited(self, expected: StreamOffset | None) -> str:
        return "the header" if expected is None else self._index.awaited(expected, self._number)

    def _read_end(self, begin: int, content: bytes) -> End:
        try:
            end = _END.decode(content)
        except _UNDECODABLE:
            raise Unreadable(begin, "the end cannot be read") from None
        if end.events != self.header.events:
            raise Unreadable(begin, f"the end record counts {end.events:,} events, the header {self.header.events:,}")
        return end


class Checked(NamedTuple):
    """What reading a whole file found."""

    # None if it is damaged.
    header: Header | None
    # None if it was not reached.
    end: End | None
    damages: list[Damage]


def check(path: Path, progress: Callable[[int, int], None], on_block: Callable[[Block], None] | None = None) -> Checked:
    """Reads the whole file. `progress` gets the bytes read and the file's size, `on_block` each sound block.

    Raises:
        NotAnExport, NewerFormat: the file cannot be checked.
    """
    try:
        reader = Reader.open(path)
    except Damage as damage:
        return Checked(None, None, [damage])
    damages: list[Damage] = []

    def damaged(damage: Damage) -> None:
        if len(damages) < _MOST_DAMAGES:
            damages.append(damage)

    try:
        for block in reader.blocks(damaged):
            if on_block is not None:
                on_block(block)
            progress(reader.offset, reader.size)
        return Checked(reader.header, reader.end, damages)
    finally:
        reader.close()


def sound_blocks(path: Path, header: Header) -> Generator[Block, None, None]:
    """Yields the blocks of a file that was checked before.

    Raises:
        Damaged, OperatorError: the file has changed since.
    """
    reader = Reader.open(path)

    def damaged(damage: Damage) -> None:
        raise Damaged(reader.name, [damage])

    try:
        if reader.header != header:
            raise OperatorError(f"{path} has changed while it was being imported")
        yield from reader.blocks(damaged)
    finally:
        reader.close()
