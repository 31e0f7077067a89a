"""What was told last, in memory: a client that was away for moments, or is just joining, finds it here.

Bounded in number and in bytes; what is older comes from the owners' read models.
"""

from collections import deque

from services.gateway.live.fanout import OutboundEvent

_MOST = 4_096
_MOST_BYTES = 16 * 1024 * 1024


class ReplayBuffer:
    """The end of one channel."""

    def __init__(self, *, most: int = _MOST, most_bytes: int = _MOST_BYTES) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._told: deque[OutboundEvent] = deque()
        self._bytes = 0
        # Everything behind this sequence is here.
        self.oldest_sequence = 0

    def begin(self, sequence: int) -> None:
        """Forgets all; what is told from here on will be kept."""
        self._told.clear()
        self._bytes = 0
        self.oldest_sequence = sequence

    def add(self, told: OutboundEvent) -> None:
        self._told.append(told)
        self._bytes += told.size()
        while len(self._told) > self._most or self._bytes > self._most_bytes:
            oldest = self._told.popleft()
            self._bytes -= oldest.size()
            self.oldest_sequence = oldest.sequence

    def since(self, sequence: int) -> list[OutboundEvent]:
        """All behind the sequence, in order. Only whole where the sequence is not below the floor."""
        found: list[OutboundEvent] = []
        for told in reversed(self._told):
            if told.sequence <= sequence:
                break
            found.append(told)
        found.reverse()
        return found
