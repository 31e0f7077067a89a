"""The gRPC methods that list messages and conversations."""

import msgspec

from contracts.errors import Invalid, Violation
from contracts.rpc.vestnik.messaging.v1 import (
    GetMessagesRequest,
    GetMessagesResponse,
    ListConversationsRequest,
    ListConversationsResponse,
    MessagingServiceBase,
)
from contracts.values.cursors import decode_cursor
from contracts.values.field_types import PAGE_LIMIT, Id, PageLimit
from contracts.values.field_types import Sequence as SequenceNumber
from contracts.values.validation import validated
from infra.rpc.call_context import current
from services.messaging.pages.page_reader import PageReader
from services.messaging.pages.queries import ListRequest, PageRequest
from services.messaging.queries import ConversationsCursor
from services.messaging.rpc_messages import UserPageRequest
from services.messaging.settings.drafts import Drafts


class _Messages(msgspec.Struct, frozen=True):
    user_id: Id
    peer_id: Id
    limit: PageLimit
    before: SequenceNumber | None = None
    after: SequenceNumber | None = None


class PageServer(MessagingServiceBase):
    def __init__(self, pages: PageReader, drafts: Drafts) -> None:
        self._pages = pages
        self._drafts = drafts

    async def get_messages(self, message: GetMessagesRequest) -> GetMessagesResponse:
        request = validated(
            _Messages,
            {
                "user_id": message.user_id,
                "peer_id": message.peer_id,
                "before": message.before,
                "after": message.after,
                "limit": message.limit or PAGE_LIMIT,
            },
        )
        if request.before is not None and request.after is not None:
            raise Invalid(violations=(Violation("/after", "not together with `before`"),))
        page, position = await self._pages.messages(
            PageRequest(request.user_id, request.peer_id),
            current().position,
            before=request.before,
            after=request.after,
            limit=request.limit,
            known=message.known,
        )
        if page is None:
            return GetMessagesResponse(unchanged=True, position=position.encode())
        return GetMessagesResponse(
            items=page.items, last=page.last, more=page.more, version=page.version, position=position.encode()
        )

    async def list_conversations(self, message: ListConversationsRequest) -> ListConversationsResponse:
        request = validated(UserPageRequest, {"user_id": message.user_id, "limit": message.limit or PAGE_LIMIT})
        after = decode_cursor(message.cursor, ConversationsCursor)
        page, position = await self._pages.conversations(
            ListRequest(request.user_id, request.limit, after, message.archived), current().position
        )
        drafts = await self._drafts.of(request.user_id, page.conversation_ids)
        return ListConversationsResponse(
            items=page.array(drafts or {}),
            next=page.next,
            position=position.encode(),
            drafts_unavailable=drafts is None,
        )
