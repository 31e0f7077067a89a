"""Route that lists the caller's conversations."""

from contracts.messages import ConversationItem
from contracts.rpc.vestnik.messaging.v1 import ListConversationsRequest
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


async def list_conversations(incoming: Request[PageQuery, NoBody]) -> Response:
    messaging, query = incoming.context.remotes.messaging, incoming.query
    request = ListConversationsRequest(user_id=incoming.caller.user_id, limit=query.limit, cursor=query.cursor)
    answer = await messaging.read(messaging.stub.list_conversations, request)
    body = page_of(answer.items, answer.next or None)
    return Response(body=body, headers={"content-type": JSON}, position=answer.position)


ROUTES: tuple[AnyEndpoint, ...] = (
    Endpoint(
        method="GET",
        path="/v1/conversations",
        tag="Messages",
        summary="One's conversations",
        description="Sorted by the newest message, newest first; one without messages by the time when it was opened.",
        handler=list_conversations,
        query=PageQuery,
        body=NoBody,
        answers={200: DocumentedResponse(description="A page of conversations.", body=Page[ConversationItem])},
        reads=True,
    ),
)
