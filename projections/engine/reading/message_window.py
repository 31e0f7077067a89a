"""The last messages of a stream, opened, for several who take them at their own pace."""

from bisect import bisect_right
from operator import attrgetter

import msgspec

from streams.loss.missing_events import Gap
from streams.message import Message
from streams.reader import ReadBatch

# As much as comes within some seconds of a busy stream, for whoever rests or waits for PostgreSQL. Whoever needs more
# than that reads by itself.
_MESSAGES = 4_000
_BYTES = 4 * 1024 * 1024
_sequence = attrgetter("sequence")


class Window:
    """Holds every message behind `begin` up to `end` that passes the filter: nothing is missing in between."""

    def __init__(self, after: int) -> None:
        self.begin = self.end = after
        self._messages: list[Message] = []
        self._bytes = 0
        self._gaps: list[Gap] = []
        # How many more the server says there are.
        self._pending = 0

    def holds(self, position: int) -> bool:
        """Whether what follows the position, and has been read, is all here."""
        return self.begin <= position <= self.end

    def add(self, batch: ReadBatch) -> None:
        """What was read right behind `end`. The oldest give way to it; itself it is kept whole, whatever its size."""
        self._messages += map(_opened, batch.messages)
        self._gaps += batch.gaps
        self._bytes += sum([len(message.payload) for message in batch.messages])
        self.end, self._pending = batch.position, batch.pending
        self._make_room(len(self._messages) - len(batch.messages))

    def forget(self) -> None:
        """Holds nothing any more, and goes on from where it was."""
        self.begin, self._messages, self._bytes, self._gaps = self.end, [], 0, []

    def after(self, position: int, limit: int) -> ReadBatch:
        """The messages behind a position that it holds, at most so many; none where there are no more yet."""
        first = bisect_right(self._messages, position, key=_sequence)
        messages = self._messages[first : first + limit]
        left = len(self._messages) - first - len(messages)
        end = messages[-1].sequence if left else self.end
        gaps = [gap for gap in self._gaps if position < gap.first and gap.last <= end]
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
    """What cannot be opened stays as it came: each who takes it finds out by itself why, and sees to it."""
    try:
        return msgspec.structs.replace(message, opened=message.open())
    except Exception:  # whatever is wrong with one event, the others have to go on
        return message
