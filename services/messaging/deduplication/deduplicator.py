"""Whether a message was sent before, for certain: in memory, in the read model, and in the stream behind that.

A conversation whose ids are all known asks nobody about a new one. Where they are not, as after a start of this
process, the ids of a short conversation are loaded at the first message; those of a long one are asked for one by one,
until that has cost about as much as loading all of them: then they are loaded too. So neither a conversation in which
little is written nor a process that has to forget conversations again and again pays for more than twice what it needs.
"""

import msgspec

from contracts.envelope import Recorded
from contracts.errors import ReadModelBehind
from contracts.events.event import Event
from contracts.events.message import MessageSent
from contracts.subjects import conversation
from services.messaging.deduplication import recent_messages
from services.messaging.deduplication.recent_messages import ConversationTail, RecentMessages
from services.messaging.domain import SendMessage, Sent, sent
from services.messaging.queries import Coverage, DuplicateLookup, MessageQueries
from streams.log import Log
from streams.message import Message

# How far, in events, the read model may be behind a conversation before sending to it waits for better times.
MOST_BEHIND = 20_000
# So many ids are loaded for about the price of asking for one.
_FOR_ONE = 500
# So many are loaded at once: meanwhile nobody else has a turn.
_PAGE = 10_000
# As many messages of other replicas are read from the stream, a request each, rather than loaded with all the others.
_FEW = 16


class Deduplicator:
    """Of one conversation there may be one call at a time."""

    def __init__(self, log: Log, queries: MessageQueries) -> None:
        self._log = log
        self._queries = queries
        self._tails = RecentMessages()

    def add(self, conversation_id: str, after: int, message: Recorded[Event]) -> Sent:
        """Learns of a message that was appended directly behind the stream sequence `after` of its conversation."""
        assert isinstance(message.data, MessageSent)
        found = sent(message.data, message.at, message.sequence)
        self._tails.add(conversation_id, after, found, message.data.client_message_id)
        return found

    def is_certainly_new(self, conversation_id: str, until: int, command: SendMessage) -> bool:
        """Whether it is known here that no message up to the stream sequence `until` has the sender's id."""
        if not until:
            return True
        tail = self._tails.get(conversation_id)
        return tail is not None and tail.rules_out(0, until, command.sender_id, command.client_message_id)

    async def find_duplicate(self, conversation_id: str, until: int, length: int, command: SendMessage) -> Sent | None:
        """The message that has the sender's id already, if one of the conversation has.

        `until`: the stream sequence of its last message, as far as the caller knows; up to there the answer holds.
        `length`: how many messages it has up to there.

        Raises:
            ReadModelBehind: it cannot be told now.
        """
        if not until:
            return None
        of_command = command.sender_id, command.client_message_id
        tail = self._tails.get(conversation_id)
        if tail is not None and (found := tail.find(*of_command)):
            return found
        if tail is None or not tail.covers(0, until):
            tail = await self._load_ids(conversation_id, tail, until, length) or tail
        if tail is not None and (found := tail.find(*of_command)):
            return found
        if tail is not None and tail.rules_out(0, until, *of_command):
            return None
        return await self._query_read_model(conversation_id, until, tail, command)

    async def _query_read_model(
        self, conversation_id: str, until: int, tail: ConversationTail | None, command: SendMessage
    ) -> Sent | None:
        of_command = command.sender_id, command.client_message_id
        looked = await self._queries.by_client_id(conversation_id, *of_command)
        if tail is not None:
            tail.asked += 1
        if looked.found is not None:
            return looked.found
        for place in looked.seen.discarded:
            if found := await self._find_discarded(conversation_id, place, command):
                return found
        applied = looked.seen.applied
        if until <= applied or (tail is not None and tail.rules_out(applied, until, *of_command)):
            return None
        if _is_far_behind(looked.seen, until):
            raise ReadModelBehind(retry_after=1)
        return await self._find_in_stream(conversation_id, looked, command)

    async def _load_ids(
        self, conversation_id: str, tail: ConversationTail | None, until: int, length: int
    ) -> ConversationTail | None:
        """All ids of the conversation up to `until`, where that is worth it; None: it is not, or cannot be done."""
        # How many are missing is known beforehand: what lies far apart in the stream must never be searched for.
        is_near = tail is not None and not tail.from_sequence and length - tail.number <= _FEW
        if tail is not None and is_near and await self._read_newer_events(conversation_id, tail):
            return tail
        asked = tail.asked if tail is not None else 0
        if length > min(recent_messages.IDS_OF_ONE, (asked + 1) * _FOR_ONE):
            return None
        found, applied = ConversationTail(0), until
        for begin in range(0, length, _PAGE):
            looked = await self._queries.client_ids(conversation_id, begin, begin + _PAGE)
            # What the rows were told to leave out was sent all the same.
            if looked.seen.discarded or _is_far_behind(looked.seen, until):
                return None
            # Each page is a picture of its own moment: all of them together hold what the earliest can.
            applied = min(applied, looked.seen.applied)
            found.learn(looked.ids)
        found.to_sequence, found.number, found.asked = applied, length, asked
        if applied < until and not await self._read_newer_events(conversation_id, found):
            return None
        self._tails.put(conversation_id, found)
        return found

    async def _read_newer_events(self, conversation_id: str, tail: ConversationTail) -> bool:
        """Learns of the messages behind the tail from the stream; whether it could."""
        stored = await self._log.read(conversation(conversation_id), after=tail.to_sequence)
        try:
            opened = [found for each in stored if (found := _opened(each)) is not None]
        except (msgspec.DecodeError, LookupError):
            # It says nothing to this program, and may be the very message.
            return False
        for sent_before, client_message_id in opened:
            tail.add(sent_before, client_message_id)
        self._tails.put(conversation_id, tail)
        return True

    async def _find_in_stream(self, conversation_id: str, looked: DuplicateLookup, command: SendMessage) -> Sent | None:
        """Looks through what the conversation's subject holds behind the place up to which the rows have it all.

        Raises:
            ReadModelBehind: an event there says nothing to this program, and may be the message.
        """
        found: Sent | None = None
        tail = ConversationTail(looked.seen.applied)
        for stored in await self._log.read(conversation(conversation_id), after=looked.seen.applied):
            if stored.sequence in looked.seen.discarded:
                continue
            try:
                opened = _opened(stored)
            except (msgspec.DecodeError, LookupError) as error:
                raise ReadModelBehind(retry_after=1) from error
            if opened is None:
                continue
            message, client_message_id = opened
            tail.add(message, client_message_id)
            if _is(message, client_message_id, command):
                found = message
        self._tails.put(conversation_id, tail)
        return found

    async def _find_discarded(self, conversation_id: str, place: int, command: SendMessage) -> Sent | None:
        """The message, if it is one that the read model was told to leave out: it was sent all the same."""
        stored = await self._log.read(conversation(conversation_id), after=place - 1, limit=1)
        try:
            opened = _opened(stored[0]) if stored and stored[0].sequence == place else None
        except (msgspec.DecodeError, LookupError):
            # No message to anybody, else an operator would not have given it up.
            return None
        return opened[0] if opened is not None and _is(*opened, command) else None


def _opened(stored: Message) -> tuple[Sent, str] | None:
    """The message that a stored event tells of, with its client's id; None where it tells of something else.

    Raises:
        msgspec.DecodeError, LookupError: the event says nothing to this program.
    """
    event = stored.open()
    if not isinstance(event.data, MessageSent):
        return None
    return sent(event.data, event.at, event.sequence), event.data.client_message_id


def _is(message: Sent, client_message_id: str, command: SendMessage) -> bool:
    """Whether the message has the very id of the command."""
    return (message.sender_id, client_message_id) == (command.sender_id, command.client_message_id)


def _is_far_behind(seen: Coverage, until: int) -> bool:
    return max(0, until - seen.read) + seen.waiting > MOST_BEHIND
