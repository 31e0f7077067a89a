"""Copies of messages for a report, by their ids, as the reporter can read them."""

from collections.abc import Sequence

from contracts.positions import Position
from services.messaging.message_lookup import MessageLookup
from services.messaging.queries import MessageCopy, MessageQueries


class MessageCopies:
    def __init__(self, queries: MessageQueries, lookup: MessageLookup) -> None:
        self._queries = queries
        self._lookup = lookup

    async def get(self, conversation_id: str, message_ids: Sequence[str], position: Position) -> list[MessageCopy]:
        """Returns the messages in the order of the conversation, also of one that is closed.

        Raises:
            MessageNotFound: the conversation has no such message.
            ReadModelBehind: it may have one that the read model lacks.
        """
        await self._queries.wait_for(position)
        copies = await self._queries.copies(conversation_id, message_ids)
        missing = set(message_ids) - {copy.message_id for copy in copies}
        if not missing:
            return copies
        for message_id in sorted(missing):
            await self._lookup.find(conversation_id, message_id, position)
        return await self._queries.copies(conversation_id, message_ids)
