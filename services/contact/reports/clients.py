"""Gets copies of messages from messaging, in the name of the user who reports them."""

from collections.abc import Sequence
from typing import Protocol

from contracts.events.report import ReportedMessage
from contracts.rpc.vestnik.messaging.v1 import CopyMessagesRequest, MessagingServiceStub
from contracts.values.timestamps import from_unix_ms
from infra.rpc.client import Client

# Messaging may wait 5 s for its read model.
_TIMEOUT = 7.0


class Conversations(Protocol):
    async def messages(self, user_id: str, peer_id: str, message_ids: Sequence[str]) -> tuple[ReportedMessage, ...]:
        """Returns these messages of the conversation, in its order.

        Raises:
            MessageNotFound: it has no such message.
        """
        ...


class MessagingConversations:
    def __init__(self, messaging: Client) -> None:
        self._messaging = messaging
        self._stub = messaging.stub(MessagingServiceStub)

    async def messages(self, user_id: str, peer_id: str, message_ids: Sequence[str]) -> tuple[ReportedMessage, ...]:
        if not message_ids:
            return ()
        answer = await self._messaging.call(
            self._stub.copy_messages,
            CopyMessagesRequest(user_id=user_id, peer_id=peer_id, message_ids=list(message_ids)),
            timeout=_TIMEOUT,
            idempotent=True,
        )
        return tuple(
            ReportedMessage(
                message_id=message.message_id,
                sequence=message.sequence,
                sender_id=message.sender_id,
                sent_at=from_unix_ms(message.sent_at),
                text=message.text,
            )
            for message in answer.messages
        )
