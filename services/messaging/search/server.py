"""The gRPC method that searches messages."""

from contracts.rpc.vestnik.messaging.v1 import MessagingServiceBase, SearchMessagesRequest, SearchMessagesResponse
from contracts.values.cursors import decode_cursor, encode_cursor
from contracts.values.field_types import PAGE_LIMIT, Id, MessageQuery
from contracts.values.validation import validated
from infra.rpc.call_context import current
from services.messaging.rpc_messages import UserPageRequest
from services.messaging.search.queries import SearchCursor
from services.messaging.search.search import MessageSearch


class _Search(UserPageRequest, frozen=True):
    query: MessageQuery
    peer_id: Id | None = None


class SearchServer(MessagingServiceBase):
    def __init__(self, search: MessageSearch) -> None:
        self._search = search

    async def search_messages(self, message: SearchMessagesRequest) -> SearchMessagesResponse:
        request = validated(
            _Search,
            {
                "user_id": message.user_id,
                "peer_id": message.peer_id or None,
                "query": message.query,
                "limit": message.limit or PAGE_LIMIT,
            },
        )
        items, more, position = await self._search.search(
            request.user_id,
            request.peer_id,
            request.query,
            current().position,
            limit=request.limit,
            after=decode_cursor(message.cursor, SearchCursor),
            best=message.best,
        )
        return SearchMessagesResponse(items=items, next=encode_cursor(more) if more else "", position=position.encode())
