"""The latest events in memory, for clients that were away for moments or are joining.

Bounded in number and in bytes; older events come from the owners' read models. As there, a message has its current
text, a deleted one has none, and nothing notifies of it; quotes show the same.
"""

from collections import deque
from collections.abc import Mapping

from contracts.events.message import MessageDeleted, MessageEdited
from services.gateway.cache.quote_texts import QuotedText, QuotedTexts
from services.gateway.live.fanout import OutboundEvent, text_of, with_change, with_quote

_MOST = 4_096
_MOST_BYTES = 16 * 1024 * 1024
_CHANGES = (MessageEdited.TYPE, MessageDeleted.TYPE)


class ReplayBuffer:
    """The latest events of one channel."""

    def __init__(self, *, most: int = _MOST, most_bytes: int = _MOST_BYTES) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._events: deque[OutboundEvent] = deque()
        self._bytes = 0
        # The first event's number; each further one has the next number.
        self._first = 0
        # The numbers of the buffered events, ascending: by their message, and by the message that they quote.
        self._by_message: dict[str, list[int]] = {}
        self._by_quoted: dict[str, list[int]] = {}
        # Everything after this sequence is here.
        self.oldest_sequence = 0

    def begin(self, sequence: int) -> None:
        """Clears the buffer; events after the sequence will be kept."""
        self._events.clear()
        self._bytes = 0
        self._by_message.clear()
        self._by_quoted.clear()
        self.oldest_sequence = sequence

    def add(self, event: OutboundEvent) -> None:
        if event.type in _CHANGES and event.payload_by_user:
            self._apply(event)
        self._append(event)
        while len(self._events) > self._most or self._bytes > self._most_bytes:
            self._drop_oldest()

    def remove(self, message_id: str) -> None:
        """Removes the events of a message."""
        if message_id not in self._by_message:
            return
        kept = [event for event in self._events if event.message_id != message_id]
        self.begin(self.oldest_sequence)
        for event in kept:
            self._append(event)

    def text_of(self, message_id: str) -> QuotedText | None:
        """The message's text as it is now; None if none of its events is here."""
        numbers = self._by_message.get(message_id)
        return None if numbers is None else text_of(self._events[numbers[-1] - self._first])

    def quote(self, texts: QuotedTexts) -> None:
        """Gives these texts to the quotes that have none."""
        for message_id, text in texts.items():
            for index in self._indexes(self._by_quoted, message_id):
                event = self._events[index]
                if not event.is_quote_known:
                    self._replace(index, with_quote(event, text))

    def _apply(self, change: OutboundEvent) -> None:
        """Gives the message's earlier events, and quotes of it, the text that it has after the change."""
        for index in self._indexes(self._by_message, change.message_id):
            self._replace(index, with_change(self._events[index], change))
        text = text_of(change)
        for index in self._indexes(self._by_quoted, change.message_id):
            self._replace(index, with_quote(self._events[index], text))

    def _append(self, event: OutboundEvent) -> None:
        number = self._first + len(self._events)
        self._events.append(event)
        self._bytes += event.size()
        if event.message_id:
            self._by_message.setdefault(event.message_id, []).append(number)
        if event.quoted is not None:
            self._by_quoted.setdefault(event.quoted.message_id, []).append(number)

    def _drop_oldest(self) -> None:
        event = self._events.popleft()
        self._first += 1
        self._bytes -= event.size()
        self.oldest_sequence = event.sequence
        if event.message_id:
            _drop_first(self._by_message, event.message_id)
        if event.quoted is not None:
            _drop_first(self._by_quoted, event.quoted.message_id)

    def _indexes(self, numbers: Mapping[str, list[int]], message_id: str) -> list[int]:
        return [number - self._first for number in numbers.get(message_id, ())]

    def _replace(self, index: int, event: OutboundEvent) -> None:
        self._bytes += event.size() - self._events[index].size()
        self._events[index] = event

    def since(self, sequence: int) -> list[OutboundEvent]:
        """All events after the sequence, in order. Complete only if the sequence is not below `oldest_sequence`."""
        events: list[OutboundEvent] = []
        for event in reversed(self._events):
            if event.sequence <= sequence:
                break
            events.append(event)
        events.reverse()
        return events


def _drop_first(numbers: dict[str, list[int]], message_id: str) -> None:
    """Removes the first number, which is that of the oldest event."""
    if len(numbers[message_id]) > 1:
        del numbers[message_id][0]
    else:
        del numbers[message_id]
