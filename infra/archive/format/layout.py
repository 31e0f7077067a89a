"""How an export is laid out, byte by byte; docs/reference/export-format.md says the same for people.

A preamble, then blocks without anything between them: one with the header, those with the events, one with the end.
Each block says where it belongs and has a digest of its own, so that damage is found where it is and can be named; the
digests depend on the header, so that no block of another export passes for one of this.
"""

import hashlib
import struct
import zlib
from datetime import datetime
from typing import Self

import msgspec

from infra.archive.unreadable_events import Runs

MAGIC = b"\x89VESTNIK\r\n\x1a\n"
VERSION = 1
BLOCK_MARK = b"VNBK"
# Events a block, which is one append at import: what the server takes at once.
MOST_EVENTS = 1_000
# Bytes of events after which a block is closed.
FULL = 1024 * 1024
# Bytes that a block may have, unpacked: more than the largest message that a NATS server can be told to take.
LARGEST = 80 * 1024 * 1024
DIGEST_SIZE = 16
# Of zlib. Measured on messages: 6 is half as fast and saves another 6 %.
_LEVEL = 3

_PREAMBLE = struct.Struct(">12sHI")
# Mark, kind, stream, number, first sequence, count, bytes as stored, bytes unpacked.
_PLACE = struct.Struct(">4sBBIQIII")
# Digest, checksum of the place and the digest.
_SEAL = struct.Struct(f">{DIGEST_SIZE}sI")

PREAMBLE_SIZE = _PREAMBLE.size
HEAD_SIZE = _PLACE.size + _SEAL.size

HEADER, EVENTS, END = 1, 2, 3


class StreamInFile(msgspec.Struct, frozen=True):
    """One stream in an export: its events are those from 1 to the last sequence."""

    name: str
    events: int
    last_sequence: int


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """The first block, in plain JSON."""

    product: str
    # Of the product that wrote it.
    version: str
    # UUIDv7: which export this is.
    id: str
    created_at: datetime
    # In the order in which their events follow.
    streams: list[StreamInFile]
    compression: str
    # Keys the claims on addresses and names in the streams, in Base64; what it hides stands in this file anyway.
    claims_key: bytes
    # Of keys that are not in here and are to be kept beside it, by name.
    fingerprints: dict[str, str]

    @property
    def events(self) -> int:
        return sum(stream.events for stream in self.streams)


class EventsOfType(msgspec.Struct, frozen=True):
    events: int
    # The newest version of its data's shape.
    schema: int


class End(msgspec.Struct, frozen=True, kw_only=True):
    """The last block, in plain JSON: only a file that has it is whole."""

    events: int
    blocks: int
    # Of the events, unpacked.
    bytes: int
    # Of the largest event.
    largest: int
    # By type; those that are no events of ours have none.
    types: dict[str, EventsOfType]
    # Events that the release which wrote the file could not read, and that it exported all the same.
    accepted: Runs = {}
    # BLAKE2b-256 of all bytes before this block, in hex.
    digest: str


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """What stands before a block's content."""

    kind: int
    # Its number in the header's list.
    stream: int
    # Place in the file: 0, 1, 2, …
    number: int
    # The sequence of the first event, and how many there are.
    first: int
    count: int
    stored: int
    unpacked: int
    digest: bytes = b""

    @property
    def last(self) -> int:
        return self.first + self.count - 1

    def pack(self, content: bytes, key: bytes) -> bytes:
        """The head in bytes, sealed for the content."""
        place = self._place()
        digest = digest_of(place, content, key)
        return place + _SEAL.pack(digest, zlib.crc32(place + digest))

    def matches(self, content: bytes, key: bytes) -> bool:
        """Whether the content is the one that the head was sealed for."""
        return digest_of(self._place(), content, key) == self.digest

    def _place(self) -> bytes:
        return _PLACE.pack(
            BLOCK_MARK, self.kind, self.stream, self.number, self.first, self.count, self.stored, self.unpacked
        )

    @classmethod
    def unpack(cls, data: bytes) -> Self | None:
        """The head; None where the bytes are no head, or a damaged one."""
        place, (digest, checksum) = data[: _PLACE.size], _SEAL.unpack(data[_PLACE.size :])
        mark, kind, stream, number, first, count, stored, unpacked = _PLACE.unpack(place)
        if mark != BLOCK_MARK or zlib.crc32(place + digest) != checksum or max(stored, unpacked) > LARGEST:
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
    """The format's version that the preamble names; None where it is damaged, or none."""
    if len(data) < PREAMBLE_SIZE:
        return None
    magic, version, checksum = _PREAMBLE.unpack(data[:PREAMBLE_SIZE])
    return int(version) if magic == MAGIC and checksum == _preamble_checksum(version) else None


def digest_of(place: bytes, content: bytes, key: bytes) -> bytes:
    digest = hashlib.blake2b(place, digest_size=DIGEST_SIZE, key=key)
    digest.update(content)
    return digest.digest()


def compress(data: bytes) -> bytes:
    return zlib.compress(data, _LEVEL)


def decompress(data: bytes, size: int) -> bytes | None:
    """What was compressed; None where it does not come to exactly that size."""
    unpacking = zlib.decompressobj()
    try:
        unpacked = unpacking.decompress(data, max(size, 1))
        whole = unpacking.eof or not unpacking.decompress(unpacking.unconsumed_tail, 1)
    except zlib.error:
        return None
    return unpacked if whole and unpacking.eof and not unpacking.unused_data and len(unpacked) == size else None


def _preamble_checksum(version: int) -> int:
    return zlib.crc32(MAGIC + version.to_bytes(2, "big"))
