"""The latest messages of conversations by their client's ids, in memory, because the read model is always a little
behind and a repeated message must be found in between.

For a conversation it holds every message between two places of the stream. Whoever has asked the read model up to a
place within knows the rest from here; a conversation held from its beginning needs no read model at all.
"""

from collections import OrderedDict

from services.messaging.domain import Sent

# Messages held of one conversation, and of all together.
_OF_ONE = 64
_OF_ALL = 50_000


class Tail:
    """One conversation's end."""

    def __init__(self, since: int) -> None:
        # Every message behind `since`, up to and with `until`, is here: stream sequences.
        self.since = since
        self.until = since
        self._sent: OrderedDict[tuple[str, str], Sent] = OrderedDict()

    def __len__(self) -> int:
        return len(self._sent)

    def covers(self, after: int, until: int) -> bool:
        return self.since <= after and until <= self.until

    def find(self, sender_id: str, client_message_id: str) -> Sent | None:
        return self._sent.get((sender_id, client_message_id))

    def add(self, message: Sent, client_message_id: str) -> None:
        """The next message of the conversation; the oldest one is given up for it."""
        self._sent[message.sender_id, client_message_id] = message
        self.until = message.stream_sequence
        if len(self._sent) > _OF_ONE:
            _, oldest = self._sent.popitem(last=False)
            self.since = oldest.stream_sequence


class Tails:
    """Of the conversations used last."""

    def __init__(self) -> None:
        self._tails: OrderedDict[str, Tail] = OrderedDict()
        self._size = 0

    def get(self, conversation_id: str) -> Tail | None:
        if conversation_id in self._tails:
            self._tails.move_to_end(conversation_id)
        return self._tails.get(conversation_id)

    def put(self, conversation_id: str, tail: Tail) -> None:
        self._drop(conversation_id)
        self._tails[conversation_id] = tail
        self._size += len(tail)

    def add(self, conversation_id: str, after: int, message: Sent, client_message_id: str) -> None:
        """A message that was appended directly behind the stream sequence `after` of its conversation."""
        tail = self._tails.get(conversation_id)
        if tail is None or tail.until != after:
            self.put(conversation_id, tail := Tail(after))
        before = len(tail)
        tail.add(message, client_message_id)
        self._size += len(tail) - before
        while self._size > _OF_ALL:
            self._drop(next(iter(self._tails)))

    def _drop(self, conversation_id: str) -> None:
        tail = self._tails.pop(conversation_id, None)
        if tail is not None:
            self._size -= len(tail)
