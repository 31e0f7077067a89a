"""The gRPC methods that edit, delete and react to messages."""

import msgspec

from contracts.errors import Invalid, Violation
from contracts.messages import Quote
from contracts.rpc.vestnik.messaging.v1 import (
    DeleteMessageRequest,
    DeleteMessageResponse,
    EditMessageRequest,
    EditMessageResponse,
    MessagingServiceBase,
    ReactRequest,
    ReactResponse,
)
from contracts.values.field_types import EmojiText, Id, Text
from contracts.values.validation import validated
from infra.rpc.call_context import current
from services.messaging.changes.commands import ChangeCommands, ChangeTarget
from services.messaging.changes.emoji import qualified_emoji
from services.messaging.rpc_messages import encoded_position, message_answer


class _Change(msgspec.Struct, frozen=True):
    user_id: Id
    peer_id: Id
    message_id: Id


class _Edit(_Change, frozen=True):
    text: Text


class _React(_Change, frozen=True):
    emoji: EmojiText | None


class ChangeServer(MessagingServiceBase):
    def __init__(self, changing: ChangeCommands) -> None:
        self._changing = changing

    async def edit_message(self, message: EditMessageRequest) -> EditMessageResponse:
        request = validated(
            _Edit,
            {
                "user_id": message.user_id,
                "peer_id": message.peer_id,
                "message_id": message.message_id,
                "text": message.text,
            },
        )
        outcome = await self._changing.edit(_target(request), request.text, current())
        quote = outcome.message.quote
        answer = message_answer(
            outcome.message,
            request.user_id,
            request.peer_id,
            outcome.state,
            None if quote is None else msgspec.json.decode(quote, type=Quote),
        )
        return EditMessageResponse(message=answer, position=encoded_position(outcome.stream_sequence))

    async def delete_message(self, message: DeleteMessageRequest) -> DeleteMessageResponse:
        request = validated(
            _Change, {"user_id": message.user_id, "peer_id": message.peer_id, "message_id": message.message_id}
        )
        sequence = await self._changing.delete(_target(request), current())
        return DeleteMessageResponse(position=encoded_position(sequence))

    async def react(self, message: ReactRequest) -> ReactResponse:
        request = validated(
            _React,
            {
                "user_id": message.user_id,
                "peer_id": message.peer_id,
                "message_id": message.message_id,
                "emoji": message.emoji or None,
            },
        )
        emoji = None if request.emoji is None else qualified_emoji(request.emoji)
        if emoji is None and request.emoji is not None:
            raise Invalid(violations=(Violation("/emoji", "not a single emoji"),))
        outcome = await self._changing.react(_target(request), emoji, current())
        return ReactResponse(position=encoded_position(outcome.stream_sequence))


def _target(request: _Change) -> ChangeTarget:
    return ChangeTarget(user_id=request.user_id, peer_id=request.peer_id, message_id=request.message_id)
