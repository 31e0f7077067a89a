"""The latest events in memory, for clients that were away for moments or are joining.

Bounded in number and in bytes; older events come from the owners' read models. A deleted message has no text here
either.
"""

from collections import deque

from contracts.events.message import MessageDeleted
from services.gateway.live.fanout import OutboundEvent, without_text

_MOST = 4_096
_MOST_BYTES = 16 * 1024 * 1024


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
        if event.type == MessageDeleted.TYPE:
            self._remove_text(event.message_id)
        self._told.append(event)
        self._bytes += event.size()
        while len(self._told) > self._most or self._bytes > self._most_bytes:
            oldest = self._told.popleft()
            self._bytes -= oldest.size()
            self.oldest_sequence = oldest.sequence

    def _remove_text(self, message_id: str) -> None:
        """Removes the text of a deleted message from its earlier events."""
        for index, event in enumerate(self._told):
            if event.message_id == message_id:
                emptied = without_text(event)
                self._bytes += emptied.size() - event.size()
                self._told[index] = emptied

    def since(self, sequence: int) -> list[OutboundEvent]:
        """All events after the sequence, in order. Complete only if the sequence is not below `oldest_sequence`."""
        events: list[OutboundEvent] = []
        for event in reversed(self._told):
            if event.sequence <= sequence:
                break
            events.append(event)
        events.reverse()
        return events
