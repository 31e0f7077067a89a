"""The byte layout of an export, as docs/reference/export-format.md describes it.

A preamble, then blocks without gaps: one with the header, those with the events, one with the end. Each block states
its place and has its own digest, so that damage can be located and named. The digests depend on the header, so that a
block of another export does not pass.
"""

import hashlib
import struct
import zlib
from datetime import datetime
from typing import Self

import msgspec

from infra.archive.format.unreadable_events import Runs

MAGIC = b"\x89VESTNIK\r\n\x1a\n"
# From 2 on the key of claims is not in the header.
VERSION = 2
BLOCK_MARK = b"VNBK"
# Events per block. An import appends a block in one batch, and this is the server's limit for a batch.
MOST_EVENTS = 1_000
# Bytes of events after which a block is closed.
FULL = 1024 * 1024
# Most bytes of a block, stored or unpacked: more than the largest message that a NATS server can be set to accept.
LARGEST = 80 * 1024 * 1024
DIGEST_SIZE = 16
# zlib's level. Measured on messages: 6 is half as fast and saves another 6 %.
_LEVEL = 3

_PREAMBLE = struct.Struct(">12sHI")
# Mark, kind, stream, number, first sequence, count, bytes as stored, bytes unpacked.
_FIELDS = struct.Struct(">4sBBIQIII")
# Digest, checksum of the place and the digest.
_SEAL = struct.Struct(f">{DIGEST_SIZE}sI")

PREAMBLE_SIZE = _PREAMBLE.size
HEAD_SIZE = _FIELDS.size + _SEAL.size

HEADER, EVENTS, END = 1, 2, 3


class StreamInFile(msgspec.Struct, frozen=True):
    """One stream in an export, with its events from sequence 1 to the last."""

    name: str
    events: int
    last_sequence: int


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """The first block, in uncompressed JSON."""

    product: str
    # The release that wrote the file.
    version: str
    # UUIDv7 of this export.
    id: str
    created_at: datetime
    # In the order of their events in the file.
    streams: list[StreamInFile]
    compression: str
    # Key of the claims on addresses and names, in Base64, in files of format 1.
    claims_key: bytes | None = None
    # By name, of the keys that are not in the file and must be kept beside it.
    fingerprints: dict[str, str]

    @property
    def events(self) -> int:
        return sum(stream.events for stream in self.streams)


class EventsOfType(msgspec.Struct, frozen=True):
    events: int
    # The highest schema version among them.
    schema: int


class End(msgspec.Struct, frozen=True, kw_only=True):
    """The last block, in uncompressed JSON: only a file that has it is whole."""

    events: int
    blocks: int
    # Size of the events, unpacked.
    bytes: int
    # Size of the largest event.
    largest: int
    # By type; messages without an envelope are not counted.
    types: dict[str, EventsOfType]
    # Events that the writing release could not read, and exported unchanged.
    accepted: Runs = {}
    # BLAKE2b-256 of all bytes before this block, in hex.
    digest: str


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """The head of a block, stored before its content."""

    kind: int
    # Index in the header's list of streams.
    stream: int
    # Number of the block in the file: 0, 1, 2, …
    number: int
    # Sequence of the first event, and number of events.
    first: int
    count: int
    stored: int
    unpacked: int
    digest: bytes = b""

    @property
    def last(self) -> int:
        return self.first + self.count - 1

    def pack(self, content: bytes, key: bytes) -> bytes:
        """Returns the head in bytes, with its checksum and the digest of the content."""
        offset = self._packed_fields()
        digest = digest_of(offset, content, key)
        return offset + _SEAL.pack(digest, zlib.crc32(offset + digest))

    def matches(self, content: bytes, key: bytes) -> bool:
        """Whether the digest is that of the content."""
        return digest_of(self._packed_fields(), content, key) == self.digest

    def _packed_fields(self) -> bytes:
        return _FIELDS.pack(
            BLOCK_MARK, self.kind, self.stream, self.number, self.first, self.count, self.stored, self.unpacked
        )

    @classmethod
    def unpack(cls, data: bytes) -> Self | None:
        """Parses a head; None if the bytes are not a sound one."""
        offset, (digest, checksum) = data[: _FIELDS.size], _SEAL.unpack(data[_FIELDS.size :])
        mark, kind, stream, number, first, count, stored, unpacked = _FIELDS.unpack(offset)
        if mark != BLOCK_MARK or zlib.crc32(offset + digest) != checksum or max(stored, unpacked) > LARGEST:
            return None
        return cls(
            kind=kind,
            stream=stream,
            number=number,
            first=first,
            count=count,
            stored=stored,
            unpacked=unpacked,
            digest=digest,
        )


def preamble() -> bytes:
    return _PREAMBLE.pack(MAGIC, VERSION, _preamble_checksum(VERSION))


def version_of(data: bytes) -> int | None:
    """The format version in the preamble; None if there is no sound preamble."""
    if len(data) < PREAMBLE_SIZE:
        return None
    magic, version, checksum = _PREAMBLE.unpack(data[:PREAMBLE_SIZE])
    return int(version) if magic == MAGIC and checksum == _preamble_checksum(version) else None


def digest_of(offset: bytes, content: bytes, key: bytes) -> bytes:
    digest = hashlib.blake2b(offset, digest_size=DIGEST_SIZE, key=key)
    digest.update(content)
    return digest.digest()


def compress(data: bytes) -> bytes:
    return zlib.compress(data, _LEVEL)


def decompress(data: bytes, size: int) -> bytes | None:
    """Decompresses the data; None unless that yields exactly `size` bytes."""
    unpacking = zlib.decompressobj()
    try:
        unpacked = unpacking.decompress(data, max(size, 1))
        complete = unpacking.eof or not unpacking.decompress(unpacking.unconsumed_tail, 1)
    except zlib.error:
        return None
    return unpacked if complete and unpacking.eof and not unpacking.unused_data and len(unpacked) == size else None


def _preamble_checksum(version: int) -> int:
    return zlib.crc32(MAGIC + version.to_bytes(2, "big"))
