"""A bounded window of a stream's last messages, opened, for several followers that read at their own pace."""

from bisect import bisect_right
from operator import attrgetter

import msgspec

from streams.loss.missing_events import Gap
from streams.message import Message
from streams.reader import ReadBatch

# A few seconds of a busy stream, for followers that pause or wait for PostgreSQL. A follower that falls further behind
# uses its own reader.
_MESSAGES = 4_000
_BYTES = 4 * 1024 * 1024
_sequence = attrgetter("sequence")


class Window:
    """Holds every message after `begin` up to and including `end` that passes the filter, without gaps."""

    def __init__(self, after: int) -> None:
        self.begin = self.end = after
        self._messages: list[Message] = []
        self._bytes = 0
        self._gaps: list[Gap] = []
        # Messages after `end`, as the server reported with the last batch.
        self._pending = 0

    def holds(self, position: int) -> bool:
        """Whether the window holds every message that was read after the position."""
        return self.begin <= position <= self.end

    def add(self, batch: ReadBatch) -> None:
        """Appends the batch that follows `end`, and evicts the oldest messages; the batch itself is never evicted."""
        self._messages += map(_opened, batch.messages)
        self._gaps += batch.gaps
        self._bytes += sum([len(message.payload) for message in batch.messages])
        self.end, self._pending = batch.position, batch.pending
        self._make_room(len(self._messages) - len(batch.messages))

    def forget(self) -> None:
        """Drops all messages; the window continues from `end`."""
        self.begin, self._messages, self._bytes, self._gaps = self.end, [], 0, []

    def after(self, position: int, limit: int) -> ReadBatch:
        """Returns up to `limit` messages after a position for which `holds` is true; none if no more were read yet."""
        first = bisect_right(self._messages, position, key=_sequence)
        messages = self._messages[first : first + limit]
        left = len(self._messages) - first - len(messages)
        end = messages[-1].sequence if left else self.end
        # A gap that grew after the position was read is returned from there on.
        gaps = [
            Gap(gap.stream, max(gap.first, position + 1), gap.last) for gap in self._gaps if position < gap.last <= end
        ]
        return ReadBatch(messages, end, self._pending + left, gaps)

    def _make_room(self, most: int) -> None:
        count = 0
        while count < most and (len(self._messages) - count > _MESSAGES or self._bytes > _BYTES):
            self._bytes -= len(self._messages[count].payload)
            count += 1
        if count:
            self.begin = self._messages[count - 1].sequence
            del self._messages[:count]
            self._gaps = [gap for gap in self._gaps if gap.last > self.begin]


def _opened(message: Message) -> Message:
    """Opens the message; one that cannot be opened stays as it is, and each follower handles the error by itself."""
    try:
        return msgspec.structs.replace(message, opened=message.open())
    except Exception:  # an error in one event must not stop the others
        return message
