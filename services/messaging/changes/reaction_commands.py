"""Load, decide, append: reactions to messages."""

from contracts.errors import NotFriends, UserNotFound
from contracts.subjects import message
from contracts.values.ids import pair_id
from infra.rpc.call_context import Call
from services.messaging.changes.domain import Message, SentMessage, decide_react, evolve_message
from services.messaging.clients import Friendships
from services.messaging.message_lookup import MessageLookup
from services.messaging.queries import MessageQueries
from streams.log import Log
from streams.repository import Repository


class ReactionCommands:
    def __init__(self, log: Log, friendships: Friendships, queries: MessageQueries) -> None:
        self._friendships = friendships
        self._lookup = MessageLookup(log, queries)
        self._messages: Repository[Message] = Repository(log, subject=message, initial=Message(), evolve=evolve_message)

    async def react(self, user_id: str, peer_id: str, message_id: str, emoji: str | None, call: Call) -> int:
        """Gives the message the user's reaction, or removes it (None). Returns the stream sequence of its last change.

        Raises:
            NotFriends: the conversation is closed to the user.
            MessageNotFound: it has no such message.
            MessageHasBeenDeleted: the message was deleted.
            ReadModelBehind: it may have a message that the read model lacks.
        """
        if user_id == peer_id:
            raise NotFriends
        try:
            await self._friendships.require_friends(user_id, peer_id, call.position)
        except UserNotFound as error:
            raise NotFriends from error
        conversation_id = pair_id(user_id, peer_id)
        row = await self._lookup.find(conversation_id, message_id, call.position)
        sent = SentMessage(
            message_id=row.message_id,
            conversation_id=conversation_id,
            sequence=row.sequence,
            sender_id=row.sender_id,
            sent_at=row.sent_at,
            members=tuple(sorted((user_id, peer_id))),
            text=row.text,
        )
        outcome = await self._messages.execute(
            message_id, lambda state: decide_react(state, sent, user_id, emoji), call.provenance()
        )
        return outcome.sequence
