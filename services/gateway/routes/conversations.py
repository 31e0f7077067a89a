"""Route that lists the caller's conversations."""

from typing import Annotated

import msgspec
from msgspec import Meta

from contracts.rpc.vestnik.messaging.v1 import Conversation, ListConversationsRequest
from contracts.values.field_types import Id
from services.gateway.http.endpoint import (
    JSON,
    AnyEndpoint,
    DocumentedResponse,
    Endpoint,
    NoBody,
    Page,
    Request,
    Response,
    page_of,
)
from services.gateway.http.query_params import PageQuery
from services.gateway.routes.messages import MessageItem, item


class ConversationItem(msgspec.Struct, frozen=True):
    user_id: Annotated[Id, Meta(description="The other person.")]
    conversation_id: Id
    last_message: Annotated[MessageItem | None, Meta(description="null before the first message.")]
    unread_count: int
    seen_sequence: Annotated[int, Meta(description="How far you have seen.")]
    peer_seen_sequence: Annotated[int, Meta(description="How far the other has seen.")]


async def list_conversations(incoming: Request[PageQuery, NoBody]) -> Response:
    messaging, query = incoming.context.remotes.messaging, incoming.query
    request = ListConversationsRequest(
        user_id=incoming.caller.user_id, limit=query.limit, cursor=query.cursor, as_json=True
    )
    answer = await messaging.read(messaging.stub.list_conversations, request)
    if answer.items is not None:
        body = page_of(answer.items, answer.next or None)
        return Response(body=body, headers={"content-type": JSON}, position=answer.position)
    # A replica of the previous release, which cannot return JSON.
    items = [_conversation(found) for found in answer.conversations]
    return Response(body=Page(items, answer.next or None), position=answer.position)


def _conversation(found: Conversation) -> ConversationItem:
    return ConversationItem(
        found.user_id,
        found.conversation_id,
        item(found.last_message) if found.last_message is not None else None,
        found.unread_count,
        found.seen_sequence,
        found.peer_seen_sequence,
    )


ROUTES: tuple[AnyEndpoint, ...] = (
    Endpoint(
        method="GET",
        path="/v1/conversations",
        tag="Messages",
        summary="One's conversations",
        description="The one with the newest message first; one without messages stands where it was opened.",
        handler=list_conversations,
        query=PageQuery,
        body=NoBody,
        answers={200: DocumentedResponse(description="A page of conversations.", body=Page[ConversationItem])},
        reads=True,
    ),
)
