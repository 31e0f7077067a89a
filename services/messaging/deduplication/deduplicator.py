"""Decides with certainty whether a message was sent before: from memory, the read model, and the stream after it.

A conversation whose ids are all in memory needs no query for a new one. Otherwise, as after a process start, the ids
of a short conversation are loaded at the first message. Those of a long one are queried one by one until that has cost
about as much as loading all of them; then they are loaded too. So neither a quiet conversation nor repeated eviction
costs more than twice what is needed.
"""

from collections.abc import Collection

import msgspec

from contracts.envelope import Recorded
from contracts.errors import ReadModelBehind
from contracts.events.event import Event
from contracts.events.message import MessageSent
from contracts.subjects import conversation
from services.messaging.deduplication import recent_messages
from services.messaging.deduplication.recent_messages import ConversationTail, RecentMessages
from services.messaging.domain import SendMessage, Sent, sent
from services.messaging.queries import Coverage, DuplicateLookup, MessageQueries, StoredMessage
from streams.log import Log
from streams.message import Message

# Events that the read model may lag behind a conversation before a send to it fails with ReadModelBehind.
MOST_BEHIND = 20_000
# Loading this many ids costs about as much as a query for one.
_FOR_ONE = 500
# Ids loaded per query; processing a page blocks the event loop.
_PAGE = 10_000
# Up to this many messages of other replicas are read from the stream, one request each, instead of loading all ids.
_FEW = 16


class Deduplicator:
    """Finds duplicates. Calls for the same conversation must not overlap."""

    def __init__(self, log: Log, queries: MessageQueries) -> None:
        self._log = log
        self._queries = queries
        self._tails = RecentMessages()

    def add(self, conversation_id: str, after: int, message: Recorded[Event]) -> Sent:
        """Records a message that was appended directly after the stream sequence `after` of its conversation."""
        assert isinstance(message.data, MessageSent)
        message_sent = sent(message.data, message.at, message.sequence)
        self._tails.add(conversation_id, after, message_sent, message.data.client_message_id)
        return message_sent

    def erase(self, users: Collection[str]) -> None:
        """Forgets the texts of the users' messages."""
        self._tails.erase(users)

    def is_certainly_new(self, conversation_id: str, until: int, command: SendMessage) -> bool:
        """Whether memory alone rules out a message with the sender's id up to the stream sequence `until`."""
        if not until:
            return True
        tail = self._tails.get(conversation_id)
        return tail is not None and tail.rules_out(0, until, command.sender_id, command.client_message_id)

    async def find_duplicate(self, conversation_id: str, until: int, length: int, command: SendMessage) -> Sent | None:
        """Returns the conversation's message with the sender's client_message_id, if there is one.

        `until`: stream sequence of the last message that the caller has read; the result holds up to there.
        `length`: number of messages up to there.

        Raises:
            ReadModelBehind: it cannot be determined now.
        """
        if not until:
            return None
        of_command = command.sender_id, command.client_message_id
        tail = self._tails.get(conversation_id)
        if tail is not None and (duplicate := tail.find(*of_command)):
            return duplicate
        if tail is None or not tail.covers(0, until):
            tail = await self._load_ids(conversation_id, tail, until, length) or tail
        if tail is not None and (duplicate := tail.find(*of_command)):
            return duplicate
        if tail is not None and tail.rules_out(0, until, *of_command):
            return None
        return await self._query_read_model(conversation_id, until, tail, command)

    async def _query_read_model(
        self, conversation_id: str, until: int, tail: ConversationTail | None, command: SendMessage
    ) -> Sent | None:
        of_command = command.sender_id, command.client_message_id
        lookup = await self._queries.by_client_id(conversation_id, *of_command)
        if tail is not None:
            tail.asked += 1
        if lookup.message is not None:
            return await self._as_sent(conversation_id, lookup.message)
        for sequence in lookup.coverage.discarded:
            if duplicate := await self._find_discarded(conversation_id, sequence, command):
                return duplicate
        applied = lookup.coverage.applied
        if until <= applied or (tail is not None and tail.rules_out(applied, until, *of_command)):
            return None
        if _is_far_behind(lookup.coverage, until):
            raise ReadModelBehind(retry_after=1)
        return await self._find_in_stream(conversation_id, lookup, command)

    async def _as_sent(self, conversation_id: str, row: StoredMessage) -> Sent:
        """Returns the message with the text of its event, since the row has the text as edited."""
        event = row.stream_sequence or 0
        opened = await self._read_message(conversation_id, event)
        if opened is not None:
            return opened[0]
        return Sent(
            message_id=row.message_id,
            sequence=row.sequence,
            sender_id=row.sender_id,
            text=None,
            sent_at=row.sent_at,
            stream_sequence=event,
            reply_to_sequence=row.reply_to_sequence,
        )

    async def _read_message(self, conversation_id: str, sequence: int) -> tuple[Sent, str] | None:
        """Reads the event at the stream sequence; None if it is no readable message of the conversation."""
        stored = await self._log.read(conversation(conversation_id), after=sequence - 1, limit=1)
        try:
            return _opened(stored[0]) if stored and stored[0].sequence == sequence else None
        except (msgspec.DecodeError, LookupError):
            return None

    async def _load_ids(
        self, conversation_id: str, tail: ConversationTail | None, until: int, length: int
    ) -> ConversationTail | None:
        """Loads all ids of the conversation up to `until`; None if that is too expensive for now, or not possible."""
        # The number of missing messages is checked first: the stream must not be scanned for many messages far apart.
        is_near = tail is not None and not tail.from_sequence and length - tail.number <= _FEW
        if tail is not None and is_near and await self._read_newer_events(conversation_id, tail):
            return tail
        lookups = tail.asked if tail is not None else 0
        if length > min(recent_messages.IDS_OF_ONE, (lookups + 1) * _FOR_ONE):
            return None
        loaded, applied = ConversationTail(0), until
        for begin in range(0, length, _PAGE):
            lookup = await self._queries.client_ids(conversation_id, begin, begin + _PAGE)
            # Discarded events are missing from the rows, but were sent all the same.
            if lookup.coverage.discarded or _is_far_behind(lookup.coverage, until):
                return None
            # Each page is a separate snapshot: together they cover only what the earliest one covers.
            applied = min(applied, lookup.coverage.applied)
            loaded.learn(lookup.ids)
        loaded.to_sequence, loaded.number, loaded.asked = applied, length, lookups
        if applied < until and not await self._read_newer_events(conversation_id, loaded):
            return None
        self._tails.put(conversation_id, loaded)
        return loaded

    async def _read_newer_events(self, conversation_id: str, tail: ConversationTail) -> bool:
        """Adds the messages after the tail from the stream. Returns False if one cannot be decoded."""
        stored = await self._log.read(conversation(conversation_id), after=tail.to_sequence)
        try:
            opened = [event for item in stored if (event := _opened(item)) is not None]
        except (msgspec.DecodeError, LookupError):
            # This release cannot decode it, and it may be the duplicate.
            return False
        for sent_before, client_message_id in opened:
            tail.add(sent_before, client_message_id)
        self._tails.put(conversation_id, tail)
        return True

    async def _find_in_stream(self, conversation_id: str, lookup: DuplicateLookup, command: SendMessage) -> Sent | None:
        """Searches the conversation's subject after the sequence up to which the read model is complete.

        Raises:
            ReadModelBehind: an event there cannot be decoded by this release, and may be the message.
        """
        duplicate: Sent | None = None
        tail = ConversationTail(lookup.coverage.applied)
        for stored in await self._log.read(conversation(conversation_id), after=lookup.coverage.applied):
            if stored.sequence in lookup.coverage.discarded:
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
                duplicate = message
        self._tails.put(conversation_id, tail)
        return duplicate

    async def _find_discarded(self, conversation_id: str, sequence: int, command: SendMessage) -> Sent | None:
        """Returns the duplicate if it is the discarded event at this sequence, which was sent all the same."""
        # An operator may have discarded it because it is not readable.
        opened = await self._read_message(conversation_id, sequence)
        return opened[0] if opened is not None and _is(*opened, command) else None


def _opened(stored: Message) -> tuple[Sent, str] | None:
    """Decodes a stored event into a message and its client_message_id; None if it is another type of event.

    Raises:
        msgspec.DecodeError, LookupError: this release cannot decode the event.
    """
    event = stored.open()
    if not isinstance(event.data, MessageSent):
        return None
    return sent(event.data, event.at, event.sequence), event.data.client_message_id


def _is(message: Sent, client_message_id: str, command: SendMessage) -> bool:
    """Whether the message has the command's sender and client_message_id."""
    return (message.sender_id, client_message_id) == (command.sender_id, command.client_message_id)


def _is_far_behind(coverage: Coverage, until: int) -> bool:
    return max(0, until - coverage.read) + coverage.waiting > MOST_BEHIND
