"""Which events each block of an export should hold, and how messages describe them."""

from typing import NamedTuple

from infra.archive.format.layout import END, Head, Header


class StreamOffset(NamedTuple):
    """A position in the streams of an export: the stream's index in the header's list, and a sequence."""

    stream: int
    sequence: int


class BlockIndex:
    """The order of positions in one export's file; the end block follows the last stream."""

    def __init__(self, header: Header) -> None:
        self._streams = header.streams
        self.end = StreamOffset(len(header.streams), 1)

    def first(self) -> StreamOffset:
        return self._begin_of(0)

    def of(self, head: Head) -> StreamOffset:
        """The position that the block's head states."""
        return self.end if head.kind == END else StreamOffset(head.stream, head.first)

    def holds(self, head: Head) -> bool:
        """Whether this export has the events that the block's head states."""
        if head.stream >= len(self._streams):
            return False
        return head.count > 0 and 1 <= head.first <= head.last <= self._streams[head.stream].last_sequence

    def after(self, head: Head) -> StreamOffset:
        """The position of the next block."""
        if head.last >= self._streams[head.stream].last_sequence:
            return self._begin_of(head.stream + 1)
        return StreamOffset(head.stream, head.last + 1)

    def named(self, head: Head) -> str:
        """Describes a block that was found."""
        if head.kind == END:
            return "the end"
        return f"block {head.number:,} ({self._streams[head.stream].name} {head.first:,} to {head.last:,})"

    def awaited(self, offset: StreamOffset, number: int) -> str:
        """Describes the block that is expected at a position."""
        if offset == self.end:
            return "the end"
        return f"block {number:,} ({self._streams[offset.stream].name} from {offset.sequence:,} on)"

    def span(self, begin: StreamOffset, end: StreamOffset) -> str:
        """Describes the events from `begin` up to, not including, `end`, by stream; empty if there are none."""
        parts = []
        for index in range(begin.stream, min(end.stream + 1, len(self._streams))):
            stream = self._streams[index]
            first = begin.sequence if index == begin.stream else 1
            last = end.sequence - 1 if index == end.stream else stream.last_sequence
            if first <= last:
                parts.append(f"{stream.name} {first:,} to {last:,}")
        return ", ".join(parts)

    def _begin_of(self, stream: int) -> StreamOffset:
        """The position of the stream's first event, or of that of the next stream that has any."""
        while stream < len(self._streams) and self._streams[stream].events == 0:
            stream += 1
        return StreamOffset(stream, 1)
