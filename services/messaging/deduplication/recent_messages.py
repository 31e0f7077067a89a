"""The latest messages of conversations by their client's ids, in memory, because the read model is always a little
behind and a repeated message must be found in between.

For a conversation it knows every message between two places of the stream: the latest ones whole, of those before them
that there was one with such an id. Whoever has asked the read model up to a place within knows the rest from here; in a
conversation known from its beginning a new id needs no read model at all, however long it has become.
"""

from collections import OrderedDict
from collections.abc import Iterable

from services.messaging.deduplication.digest_set import DigestSet, digest
from services.messaging.domain import Sent

# Messages held whole of one conversation, and of all together.
_OF_ONE = 16
_OF_ALL = 50_000
# Ids held of one conversation beyond those, in four bytes each; so many take the room of a message.
IDS_OF_ONE = 200_000
_IDS_A_MESSAGE = 64


class ConversationTail:
    """One conversation's end."""

    def __init__(self, since: int) -> None:
        # Every message behind `since`, up to and with `until`, is known here: stream sequences.
        self.from_sequence = since
        self.to_sequence = since
        # The number of the last of them in its conversation; 0: none is known.
        self.number = 0
        # How often the read model was asked for one id.
        self.asked = 0
        # The room it takes, in messages, as last counted by whoever keeps it.
        self.weight = 0
        self._sent: OrderedDict[tuple[str, str], Sent] = OrderedDict()
        # Of the messages behind `since` that are not held whole. Two ids of one digest cost a look, no more.
        self._digests = DigestSet()

    @property
    def size(self) -> int:
        """What it holds, in messages."""
        return len(self._sent) + len(self._digests) // _IDS_A_MESSAGE

    def covers(self, after: int, until: int) -> bool:
        return self.from_sequence <= after and until <= self.to_sequence

    def find(self, sender_id: str, client_message_id: str) -> Sent | None:
        return self._sent.get((sender_id, client_message_id))

    def rules_out(self, after: int, until: int, sender_id: str, client_message_id: str) -> bool:
        """Whether certainly no message between the two places has the id."""
        if not self.covers(after, until) or (sender_id, client_message_id) in self._sent:
            return False
        return digest(sender_id, client_message_id) not in self._digests

    def learn(self, ids: Iterable[tuple[str, str]]) -> None:
        """Ids, the sender's and the client's, of messages that are not held whole.

        `until` and `number` are the caller's to move.
        """
        self._digests.update(digest(*each) for each in ids)

    def add(self, message: Sent, client_message_id: str) -> None:
        """The next message of the conversation; of the oldest one held whole the id stays, within a bound."""
        self._sent[message.sender_id, client_message_id] = message
        self.to_sequence, self.number = message.stream_sequence, message.sequence
        if len(self._sent) <= _OF_ONE:
            return
        key, oldest = self._sent.popitem(last=False)
        self._digests.add(digest(*key))
        if len(self._digests) > IDS_OF_ONE:
            self._digests = DigestSet()
            self.from_sequence = oldest.stream_sequence


class RecentMessages:
    """Of the conversations used last."""

    def __init__(self) -> None:
        self._tails: OrderedDict[str, ConversationTail] = OrderedDict()
        self._size = 0

    def get(self, conversation_id: str) -> ConversationTail | None:
        if conversation_id in self._tails:
            self._tails.move_to_end(conversation_id)
        return self._tails.get(conversation_id)

    def put(self, conversation_id: str, tail: ConversationTail) -> None:
        """Keeps the tail, or takes notice that it has grown."""
        if (old := self._tails.get(conversation_id)) is not tail and old is not None:
            self._size -= old.weight
        self._tails[conversation_id] = tail
        self._tails.move_to_end(conversation_id)
        # One of which nothing is held takes some room too.
        room = 1 + tail.size
        self._size += room - tail.weight
        tail.weight = room
        while self._size > _OF_ALL and len(self._tails) > 1:
            _, oldest = self._tails.popitem(last=False)
            self._size -= oldest.weight

    def add(self, conversation_id: str, after: int, message: Sent, client_message_id: str) -> None:
        """A message that was appended directly behind the stream sequence `after` of its conversation."""
        tail = self._tails.get(conversation_id)
        if tail is None or tail.to_sequence != after:
            asked = 0 if tail is None else tail.asked
            tail = ConversationTail(after)
            tail.asked = asked
        tail.add(message, client_message_id)
        self.put(conversation_id, tail)
