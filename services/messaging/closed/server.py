"""The gRPC method that lists a user's own messages in closed conversations."""

import msgspec
from msgspec import UNSET, UnsetType

from contracts.rpc.vestnik.messaging.v1 import (
    ListClosedMessagesRequest,
    ListClosedMessagesResponse,
    MessagingServiceBase,
)
from contracts.values.cursors import decode_cursor, encode_cursor
from contracts.values.field_types import PAGE_LIMIT
from contracts.values.timestamps import rfc3339
from contracts.values.validation import validated
from infra.rpc.call_context import current
from services.messaging.closed.queries import ClosedCursor, ClosedMessage, ClosedMessageQueries
from services.messaging.rpc_messages import UserPageRequest


class _Item(msgspec.Struct, frozen=True, kw_only=True):
    # The other person.
    user_id: str
    message_id: str
    conversation_id: str
    sequence: int
    text: str
    sent_at: str
    edited_at: str | UnsetType = UNSET
    deleted: bool | UnsetType = UNSET


class ClosedMessageServer(MessagingServiceBase):
    def __init__(self, closed: ClosedMessageQueries) -> None:
        self._closed = closed

    async def list_closed_messages(self, message: ListClosedMessagesRequest) -> ListClosedMessagesResponse:
        request = validated(UserPageRequest, {"user_id": message.user_id, "limit": message.limit or PAGE_LIMIT})
        after = decode_cursor(message.cursor, ClosedCursor)
        rows = await self._closed.page(request.user_id, after, request.limit + 1, current().position)
        page = rows[: request.limit]
        last = page[-1] if len(rows) > len(page) else None
        return ListClosedMessagesResponse(
            items=msgspec.json.encode([_item(row) for row in page]),
            next="" if last is None else encode_cursor(ClosedCursor(last.peer_id, last.sequence)),
        )


def _item(row: ClosedMessage) -> _Item:
    return _Item(
        user_id=row.peer_id,
        message_id=row.message_id,
        conversation_id=row.conversation_id,
        sequence=row.sequence,
        text=row.text or "",
        sent_at=rfc3339(row.sent_at),
        edited_at=UNSET if row.edited_at is None else rfc3339(row.edited_at),
        deleted=row.deleted or UNSET,
    )
