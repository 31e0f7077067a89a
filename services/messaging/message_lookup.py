"""Finds a message of a conversation by its id, as the read model has it."""

from contracts.errors import MessageNotFound, ReadModelBehind
from contracts.positions import Position
from contracts.subjects import MESSAGING, conversation
from services.messaging.queries import MessageQueries, StoredMessage
from streams.log import Log


class MessageLookup:
    def __init__(self, log: Log, queries: MessageQueries) -> None:
        self._log = log
        self._queries = queries

    async def find(self, conversation_id: str, message_id: str, position: Position) -> StoredMessage:
        """Returns the message at the position or later. One that was just sent is waited for.

        Raises:
            MessageNotFound: the conversation has no such message.
            ReadModelBehind: it may have one that the read model lacks.
        """
        await self._queries.wait_for(position)
        lookup = await self._queries.by_message_id(conversation_id, message_id)
        if lookup.message is None:
            end = await self._log.last_sequence(conversation(conversation_id))
            if lookup.coverage.applied < end:
                await self._queries.wait_for(Position.at(MESSAGING, end))
                lookup = await self._queries.by_message_id(conversation_id, message_id)
            if lookup.message is None:
                raise MessageNotFound if lookup.coverage.applied >= end else ReadModelBehind(retry_after=1)
        return lookup.message
