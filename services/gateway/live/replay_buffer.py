"""The latest events in memory, for clients that were away for moments or are joining.

Bounded in number and in bytes; older events come from the owners' read models. As there, a message has its current
text, a deleted one has none, and nothing notifies of it; quotes show the same.
"""

from collections import deque

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
        self._told: deque[OutboundEvent] = deque()
        self._bytes = 0
        # Everything after this sequence is here.
        self.oldest_sequence = 0

    def begin(self, sequence: int) -> None:
        """Clears the buffer; events after the sequence will be kept."""
        self._told.clear()
        self._bytes = 0
        self.oldest_sequence = sequence

    def add(self, event: OutboundEvent) -> None:
        if event.type in _CHANGES and event.payload_by_user:
            self._apply(event)
        self._told.append(event)
        self._bytes += event.size()
        while len(self._told) > self._most or self._bytes > self._most_bytes:
            oldest = self._told.popleft()
            self._bytes -= oldest.size()
            self.oldest_sequence = oldest.sequence

    def remove(self, message_id: str) -> None:
        """Removes the events of a message."""
        self._told = deque(event for event in self._told if event.message_id != message_id)
        self._bytes = sum(event.size() for event in self._told)

    def text_of(self, message_id: str) -> QuotedText | None:
        """The message's text as it is now; None if none of its events is here."""
        # Most replies answer one of the last messages.
        event = next((event for event in reversed(self._told) if event.message_id == message_id), None)
        return None if event is None else text_of(event)

    def quote(self, texts: QuotedTexts) -> None:
        """Gives these texts to the quotes that have none."""
        for index, event in enumerate(self._told):
            if event.quoted is not None and not event.is_quote_known and event.quoted.message_id in texts:
                self._replace(index, with_quote(event, texts[event.quoted.message_id]))

    def _apply(self, change: OutboundEvent) -> None:
        """Gives the message's earlier events, and quotes of it, the text that it has after the change."""
        text = text_of(change)
        for index, event in enumerate(self._told):
            if event.message_id == change.message_id:
                self._replace(index, with_change(event, change))
            elif event.quoted is not None and event.quoted.message_id == change.message_id:
                self._replace(index, with_quote(event, text))

    def _replace(self, index: int, event: OutboundEvent) -> None:
        self._bytes += event.size() - self._told[index].size()
        self._told[index] = event

    def since(self, sequence: int) -> list[OutboundEvent]:
        """All events after the sequence, in order. Complete only if the sequence is not below `oldest_sequence`."""
        events: list[OutboundEvent] = []
        for event in reversed(self._told):
            if event.sequence <= sequence:
                break
            events.append(event)
        events.reverse()
        return events
