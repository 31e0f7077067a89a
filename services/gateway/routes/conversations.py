"""Routes that list the caller's conversations and change the caller's settings of one."""

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from contracts.errors import Invalid, NotFriends, Violation
from contracts.events.event import Moment
from contracts.events.message import FOREVER
from contracts.messages import ConversationItem
from contracts.rpc.vestnik.messaging.v1 import (
    CountUnreadConversationsRequest,
    ListConversationsRequest,
    UpdateConversationRequest,
)
from contracts.values.field_types import Draft
from contracts.values.timestamps import to_unix_ms
from services.gateway.http.endpoint import (
    JSON,
    MERGE_PATCH,
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

_FOREVER = "forever"


class ConversationsQuery(PageQuery, frozen=True):
    archived: Annotated[
        bool | None, Meta(description="`true`: only archived ones; `false`: only the others; default: all.")
    ] = None


class ConversationPatch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A merge patch (RFC 7396): null clears a field; an omitted field stays as it is."""

    muted_until: (
        Annotated[
            str,
            Meta(
                max_length=64,
                description=(
                    "RFC 3339 with a zone, or `forever`; null ends the mute. A time that is over mutes nothing."
                ),
                examples=["2026-01-31T12:00:00.000Z", "forever"],
            ),
        ]
        | UnsetType
        | None
    ) = UNSET
    pinned: bool | UnsetType | None = UNSET
    archived: bool | UnsetType | None = UNSET
    draft: Draft | UnsetType | None = UNSET


class ConversationsPage(Page[ConversationItem], frozen=True):
    drafts_unavailable: (
        Annotated[
            bool,
            Meta(
                description=(
                    "true if the drafts could not be read: then no item has one, and a client keeps those that it has. "
                    "Left out otherwise."
                )
            ),
        ]
        | UnsetType
    ) = UNSET


class UnreadConversations(msgspec.Struct, frozen=True):
    unread_conversations: int
    unread_messages: Annotated[int, Meta(description="The sum of their `unread_count`.")]


async def list_conversations(incoming: Request[ConversationsQuery, NoBody]) -> Response:
    messaging, query = incoming.context.remotes.messaging, incoming.query
    request = ListConversationsRequest(
        user_id=incoming.caller.user_id, limit=query.limit, cursor=query.cursor, archived=query.archived
    )
    answer = await messaging.read(messaging.stub.list_conversations, request)
    body = page_of(answer.items, answer.next or None)
    if answer.drafts_unavailable:
        body = body[:-1] + b',"drafts_unavailable":true}'
    return Response(body=body, headers={"content-type": JSON}, position=answer.position)


async def count_unread(incoming: Request[NoQuery, NoBody]) -> Response:
    messaging = incoming.context.remotes.messaging
    request = CountUnreadConversationsRequest(user_id=incoming.caller.user_id)
    answer = await messaging.read(messaging.stub.count_unread_conversations, request)
    return Response(body=UnreadConversations(answer.conversations, answer.messages), position=answer.position)


async def update(incoming: Request[NoQuery, ConversationPatch]) -> Response:
    messaging, user_id, patch = incoming.context.remotes.messaging, incoming.caller.user_id, incoming.body
    request = UpdateConversationRequest(
        user_id=user_id,
        peer_id=incoming.path_id("user_id", NotFriends),
        muted_until=None if patch.muted_until is UNSET else _muted_until(patch.muted_until),
        pinned=None if patch.pinned is UNSET else bool(patch.pinned),
        archived=None if patch.archived is UNSET else bool(patch.archived),
        draft=None if patch.draft is UNSET else patch.draft or "",
    )
    answer = await messaging.command(messaging.stub.update_conversation, request, repeatable=True)
    if answer.live:
        await incoming.context.drafts.send(user_id, answer.live)
    return Response(status=204, position=answer.position, written_by=user_id)


def _muted_until(text: str | None) -> int:
    """As the service expects it: Unix milliseconds, 0 for no mute."""
    if text is None:
        return 0
    if text == _FOREVER:
        return to_unix_ms(FOREVER)
    try:
        moment: datetime = msgspec.convert(text, Moment)
    except msgspec.ValidationError as error:
        message = f"Not an RFC 3339 time with a zone, nor `{_FOREVER}`"
        raise Invalid(violations=(Violation("/muted_until", message),)) from error
    milliseconds = to_unix_ms(moment)
    if milliseconds >= to_unix_ms(FOREVER):
        raise Invalid(violations=(Violation("/muted_until", f"Too late; `{_FOREVER}` mutes without an end"),))
    return max(milliseconds, 0)


ROUTES: tuple[AnyEndpoint, ...] = (
    Endpoint(
        method="GET",
        path="/v1/conversations",
        tag="Messages",
        summary="One's conversations",
        description=(
            "Pinned ones first; then by the newest message, newest first; one without messages by the time when it "
            "was opened."
        ),
        handler=list_conversations,
        query=ConversationsQuery,
        body=NoBody,
        answers={200: DocumentedResponse(description="A page of conversations.", body=ConversationsPage)},
        reads=True,
    ),
    Endpoint(
        method="GET",
        path="/v1/conversations/unread",
        tag="Messages",
        summary="Count unread conversations",
        description="Those that want attention: without muted ones, for as long as they are muted.",
        handler=count_unread,
        query=NoQuery,
        body=NoBody,
        answers={200: DocumentedResponse(description="The numbers.", body=UnreadConversations)},
        reads=True,
    ),
    Endpoint(
        method="PATCH",
        path="/v1/conversations/{user_id}",
        tag="Messages",
        summary="Mute, pin or archive a conversation, or save a draft",
        description=(
            "The caller's own settings, the same on all of their devices; the other person does not see them. The "
            "last writer wins, field by field. A new message does not take a conversation out of the archive. A draft "
            "is kept for 30 days and is no part of any history; sending a message does not remove it."
        ),
        handler=update,
        query=NoQuery,
        body=ConversationPatch,
        answers={204: DocumentedResponse(description="Noted.")},
        errors=(NotFriends,),
        limits=(
            AppliedLimit(limit=policies.CONVERSATION_CHANGE_ADDRESS),
            AppliedLimit(limit=policies.CONVERSATION_CHANGE),
        ),
        media_types=(JSON, MERGE_PATCH),
        writes=True,
        command="update_conversation",
    ),
)
