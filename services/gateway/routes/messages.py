"""Routes for messages: send, list, search, mark as seen."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from contracts.errors import ClientMessageIdReused, Invalid, MessageNotFound, NotFriends, UserNotFound, Violation
from contracts.messages import FoundMessage, MessageItem, SentMessage
from contracts.rpc.vestnik.messaging.v1 import (
    GetMessagesRequest,
    MarkSeenRequest,
    SearchMessagesRequest,
    SendMessageRequest,
)
from contracts.values.cursors import decode_cursor, encode_cursor
from contracts.values.field_types import ClientMessageId, Id, MessageQuery, MessageSequence, Sequence, Text
from contracts.values.ids import pair_id
from services.gateway.cache.message_pages import KnownPage
from services.gateway.clients import required
from services.gateway.http.endpoint import (
    JSON,
    AnyEndpoint,
    AppliedLimit,
    DocumentedResponse,
    Endpoint,
    NoBody,
    NoQuery,
    Page,
    Request,
    Response,
    page_of,
)
from services.gateway.http.query_params import PageQuery
from services.gateway.limits import policies


class NewMessage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    text: Text
    client_message_id: Annotated[
        ClientMessageId,
        Meta(description="The client's own id of the message; a repeat with the same id has no effect."),
    ]
    reply_to: Annotated[
        Id | None, Meta(description="`message_id` of the message that it answers, of the same conversation.")
    ] = None


class MessagesQuery(PageQuery, frozen=True):
    before: Annotated[Sequence | None, Meta(description="Newest first, below this sequence.")] = None
    after: Annotated[Sequence | None, Meta(description="Oldest first, above this sequence.")] = None


class SearchQuery(PageQuery, frozen=True, kw_only=True):
    query: MessageQuery
    user_id: Annotated[Id | None, Meta(description="Only the conversation with this user.")] = None
    order: Annotated[
        Literal["newest", "best"],
        Meta(
            description=(
                "`newest` first; or `best`: of the newest 200 that are found, first those that contain the most of "
                "the words whole or in another form, rather than their beginnings."
            )
        ),
    ] = "newest"


class Seen(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    sequence: Annotated[MessageSequence, Meta(description="All messages up to this sequence were seen.")]


class _Edge(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Content of a cursor: where the next page begins."""

    before: Sequence | None = None
    after: Sequence | None = None


_NEWEST = _Edge()
_JSON = {"content-type": JSON}


async def send(incoming: Request[NoQuery, NewMessage]) -> Response:
    messaging, user_id = incoming.context.remotes.messaging, incoming.caller.user_id
    request = SendMessageRequest(
        sender_id=user_id,
        recipient_id=incoming.path_id("user_id", UserNotFound),
        text=incoming.body.text,
        client_message_id=incoming.body.client_message_id,
        reply_to=incoming.body.reply_to or "",
    )
    conversation_id = pair_id(user_id, request.recipient_id)
    answer = await messaging.command(messaging.stub.send_message, request, repeatable=True, about=conversation_id)
    return Response(
        status=201 if answer.created else 200,
        body=answer.message,
        headers=_JSON,
        position=answer.position,
        written_by=user_id,
        concerns=request.recipient_id,
    )


async def list_messages(incoming: Request[MessagesQuery, NoBody]) -> Response:
    messaging, pages = incoming.context.remotes.messaging, incoming.context.pages
    edge, limit = _edge(incoming.query), incoming.query.limit
    user_id, peer_id = incoming.caller.user_id, incoming.path_id("user_id", NotFriends)
    known = pages.get(user_id, peer_id, limit) if edge == _NEWEST else None
    request = GetMessagesRequest(
        user_id=user_id,
        peer_id=peer_id,
        before=edge.before,
        after=edge.after,
        limit=limit,
        known=known.version if known is not None else "",
    )
    answer = await messaging.read(messaging.stub.get_messages, request)
    if answer.unchanged:
        return Response(body=required(known).body, headers=_JSON, position=answer.position)
    following = None
    if answer.more and answer.last:
        following = encode_cursor(_Edge(after=answer.last) if edge.after is not None else _Edge(before=answer.last))
    body = page_of(answer.items, following)
    if answer.version and edge == _NEWEST:
        pages.put(user_id, peer_id, limit, KnownPage(answer.version, body))
    return Response(body=body, headers=_JSON, position=answer.position)


async def search(incoming: Request[SearchQuery, NoBody]) -> Response:
    messaging, query = incoming.context.remotes.messaging, incoming.query
    request = SearchMessagesRequest(
        user_id=incoming.caller.user_id,
        peer_id=query.user_id or "",
        query=query.query,
        limit=query.limit,
        cursor=query.cursor,
        best=query.order == "best",
    )
    answer = await messaging.read(messaging.stub.search_messages, request)
    return Response(body=page_of(answer.items, answer.next or None), headers=_JSON, position=answer.position)


async def mark_seen(incoming: Request[NoQuery, Seen]) -> Response:
    messaging, user_id = incoming.context.remotes.messaging, incoming.caller.user_id
    request = MarkSeenRequest(
        user_id=user_id, peer_id=incoming.path_id("user_id", NotFriends), sequence=incoming.body.sequence
    )
    answer = await messaging.command(messaging.stub.mark_seen, request, repeatable=True)
    return Response(status=204, position=answer.position, written_by=user_id, concerns=request.peer_id)


def _edge(query: MessagesQuery) -> _Edge:
    edges = [name for name, value in (("before", query.before), ("after", query.after)) if value is not None]
    if query.cursor:
        edges.append("cursor")
    if len(edges) > 1:
        raise Invalid(violations=(Violation(f"/query/{edges[-1]}", f"Not together with `{edges[0]}`"),))
    return decode_cursor(query.cursor, _Edge) or _Edge(query.before, query.after)


ROUTES: tuple[AnyEndpoint, ...] = (
    Endpoint(
        method="POST",
        path="/v1/conversations/{user_id}/messages",
        tag="Messages",
        summary="Send a message to a friend",
        handler=send,
        query=NoQuery,
        body=NewMessage,
        answers={
            201: DocumentedResponse(description="Sent and stored durably.", body=SentMessage),
            200: DocumentedResponse(description="Already sent earlier: the same message.", body=SentMessage),
        },
        errors=(NotFriends, UserNotFound, MessageNotFound, ClientMessageIdReused),
        limits=(AppliedLimit(limit=policies.SEND_ADDRESS), AppliedLimit(limit=policies.SEND)),
        writes=True,
        command="send",
    ),
    Endpoint(
        method="GET",
        path="/v1/conversations/{user_id}/messages",
        tag="Messages",
        summary="Messages with a friend",
        description="Newest first, or oldest first with `after`. Give one of `before`, `after` and `cursor`.",
        handler=list_messages,
        query=MessagesQuery,
        body=NoBody,
        answers={200: DocumentedResponse(description="A page of messages.", body=Page[MessageItem])},
        errors=(NotFriends,),
        reads=True,
    ),
    Endpoint(
        method="GET",
        path="/v1/messages",
        tag="Messages",
        summary="Search one's messages",
        description=(
            "Only messages that the caller may read now: of conversations with friends, by their current "
            "text. A page may hold fewer messages than `limit` although more follow; `next` says whether they do."
        ),
        handler=search,
        query=SearchQuery,
        body=NoBody,
        answers={200: DocumentedResponse(description="A page of messages.", body=Page[FoundMessage])},
        limits=(AppliedLimit(limit=policies.MESSAGE_SEARCH_ADDRESS), AppliedLimit(limit=policies.MESSAGE_SEARCH)),
        reads=True,
    ),
    Endpoint(
        method="PUT",
        path="/v1/conversations/{user_id}/seen",
        tag="Messages",
        summary="Mark messages as seen",
        description="Never goes back: a lower sequence changes nothing.",
        handler=mark_seen,
        query=NoQuery,
        body=Seen,
        answers={204: DocumentedResponse(description="Noted.")},
        errors=(NotFriends, MessageNotFound),
        writes=True,
        command="seen",
    ),
)
