"""Writes an export block by block, with one block in memory at a time."""

import hashlib
from collections.abc import Sequence
from typing import IO

import msgspec

from infra.archive.format.layout import (
    END,
    EVENTS,
    HEADER,
    End,
    EventsOfType,
    Head,
    Header,
    compress,
    preamble,
)
from infra.archive.format.unreadable_events import Runs, Unreadable, UnreadableEvent, examine
from streams.restore import ArchivedMessage


class Writer:
    """Writes an export to `file` in one pass without seeking, so that `file` may be a pipe."""

    def __init__(self, file: IO[bytes], header: Header) -> None:
        self._file = file
        self._streams = [stream.name for stream in header.streams]
        self._digest = hashlib.blake2b(digest_size=32)
        self._number = 0
        self._key = b""
        self._types: dict[str, EventsOfType] = {}
        self._events = self._unpacked = self._largest = 0
        self.unreadable = Unreadable()
        # Bytes written so far.
        self.bytes = 0
        self._put(preamble())
        content = msgspec.json.encode(header)
        self._key = self._block(HEADER, content, unpacked=len(content))

    def events(self, stream: int, first: int, events: Sequence[ArchivedMessage]) -> None:
        """Writes a block of a stream's events, the first of which has the sequence `first`."""
        data = msgspec.msgpack.encode(events)
        for sequence, event in enumerate(events, first):
            self._count(self._streams[stream], sequence, event)
        self._unpacked += len(data)
        self._block(EVENTS, compress(data), unpacked=len(data), stream=stream, first=first, count=len(events))

    def end(self, accepted: Runs | None = None) -> End:
        """Writes the end block, without which the file is not a whole export.

        `accepted`: unreadable events that an import stores unchanged.
        """
        end = End(
            events=self._events,
            blocks=self._number,
            bytes=self._unpacked,
            largest=self._largest,
            types=dict(sorted(self._types.items())),
            accepted=accepted or {},
            digest=self._digest.hexdigest(),
        )
        content = msgspec.json.encode(end)
        self._block(END, content, unpacked=len(content))
        return end

    def _count(self, stream: str, sequence: int, event: ArchivedMessage) -> None:
        self._events += 1
        self._largest = max(self._largest, event.size)
        kind, why = examine(event.payload)
        if why is not None:
            self.unreadable.add(UnreadableEvent(stream, sequence, event.subject, why))
        if kind is None:
            return
        known = self._types.get(kind.type, EventsOfType(0, 0))
        self._types[kind.type] = EventsOfType(known.events + 1, max(known.schema, kind.schema))

    def _block(
        self, kind: int, content: bytes, *, unpacked: int, stream: int = 0, first: int = 0, count: int = 0
    ) -> bytes:
        head = Head(
            kind=kind,
            stream=stream,
            number=self._number,
            first=first,
            count=count,
            stored=len(content),
            unpacked=unpacked,
        )
        packed = head.pack(content, self._key)
        self._put(packed)
        self._put(content)
        self._number += 1
        sealed = Head.unpack(packed)
        assert sealed is not None
        return sealed.digest

    def _put(self, data: bytes) -> None:
        self._file.write(data)
        self._digest.update(data)
        self.bytes += len(data)
