"""In-memory index of conversations' latest messages by client_message_id, to find duplicates despite read model lag.

For a conversation it covers every message between two stream sequences: the latest ones in full, earlier ones as
digests of their ids. A read model's result up to a sequence in that range is completed from here. In a conversation
covered from its first message a new id needs no query at all, however long the conversation is.
"""

from collections import OrderedDict
from collections.abc import Collection, Iterable

import msgspec

from services.messaging.deduplication.digest_set import DigestSet, digest
from services.messaging.domain import Sent
from streams.lru_cache import LruCache

# Messages kept in full per conversation, and the bound on all conversations together, in messages.
_OF_ONE = 16
_OF_ALL = 50_000
# Further ids kept per conversation, in four bytes each; `_IDS_A_MESSAGE` of them count as one message.
IDS_OF_ONE = 200_000
_IDS_A_MESSAGE = 64


class ConversationTail:
    """The latest messages of one conversation."""

    def __init__(self, since: int) -> None:
        # Stream sequences: every message after `from_sequence` up to and including `to_sequence` is known here.
        self.from_sequence = since
        self.to_sequence = since
        # The last one's sequence in its conversation; 0: none is known.
        self.number = 0
        # Number of queries to the read model for a single id.
        self.asked = 0
        # Size in messages when it was stored; an empty tail takes some memory too.
        self.weight = 1
        self._sent: OrderedDict[tuple[str, str], Sent] = OrderedDict()
        # Ids of the messages after `from_sequence` that are not kept in full. A collision only costs a query.
        self._digests = DigestSet()

    @property
    def size(self) -> int:
        """Size in messages."""
        return len(self._sent) + len(self._digests) // _IDS_A_MESSAGE

    def covers(self, after: int, until: int) -> bool:
        return self.from_sequence <= after and until <= self.to_sequence

    def find(self, sender_id: str, client_message_id: str) -> Sent | None:
        return self._sent.get((sender_id, client_message_id))

    def rules_out(self, after: int, until: int, sender_id: str, client_message_id: str) -> bool:
        """Whether certainly no message between the two stream sequences has the id."""
        if not self.covers(after, until) or (sender_id, client_message_id) in self._sent:
            return False
        return digest(sender_id, client_message_id) not in self._digests

    def learn(self, ids: Iterable[tuple[str, str]]) -> None:
        """Adds (sender id, client_message_id) pairs of messages that are not kept in full.

        The caller updates `to_sequence` and `number`.
        """
        self._digests.update(digest(*pair) for pair in ids)

    def add(self, message: Sent, client_message_id: str) -> None:
        """Adds the conversation's next message. Beyond `_OF_ONE`, the oldest is reduced to its id."""
        self._sent[message.sender_id, client_message_id] = message
        self.to_sequence, self.number = message.stream_sequence, message.sequence
        if len(self._sent) <= _OF_ONE:
            return
        key, oldest = self._sent.popitem(last=False)
        self._digests.add(digest(*key))
        if len(self._digests) > IDS_OF_ONE:
            self._digests = DigestSet()
            self.from_sequence = oldest.stream_sequence

    def erase(self, users: Collection[str]) -> None:
        """Forgets the texts of the users' messages, and keeps their ids."""
        for key, message in self._sent.items():
            if key[0] in users:
                self._sent[key] = msgspec.structs.replace(message, text=None)


class RecentMessages:
    """LRU cache of conversation tails, bounded in messages."""

    def __init__(self) -> None:
        self._tails: LruCache[str, ConversationTail] = LruCache(_OF_ALL, weigh=lambda tail: tail.weight)

    def get(self, conversation_id: str) -> ConversationTail | None:
        return self._tails.get(conversation_id)

    def erase(self, users: Collection[str]) -> None:
        """Forgets the texts of the users' messages in all conversations."""
        for tail in self._tails.values():
            tail.erase(users)

    def put(self, conversation_id: str, tail: ConversationTail) -> None:
        """Stores the tail, or updates its size after it has grown."""
        self._tails.discard(conversation_id)
        tail.weight = 1 + tail.size
        self._tails.put(conversation_id, tail)

    def add(self, conversation_id: str, after: int, message: Sent, client_message_id: str) -> None:
        """Adds a message that was appended directly after the stream sequence `after` of its conversation."""
        tail = self._tails.peek(conversation_id)
        if tail is None or tail.to_sequence != after:
            lookups = 0 if tail is None else tail.asked
            tail = ConversationTail(after)
            tail.asked = lookups
        tail.add(message, client_message_id)
        self.put(conversation_id, tail)
