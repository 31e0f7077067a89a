"""Routes for the caller's reaction to a message: set, remove."""

import msgspec

from contracts.errors import MessageHasBeenDeleted, MessageNotFound, NotFriends, TooManyChanges, UserNotFound
from contracts.rpc.vestnik.messaging.v1 import ReactRequest
from contracts.values.field_types import EmojiText
from services.gateway.http.endpoint import (
    AnyEndpoint,
    AppliedLimit,
    DocumentedResponse,
    Endpoint,
    NoBody,
    NoQuery,
    Request,
    Response,
)
from services.gateway.limits import policies


class NewReaction(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    emoji: EmojiText


async def react(incoming: Request[NoQuery, NewReaction]) -> Response:
    return await _change(incoming, incoming.body.emoji)


async def remove(incoming: Request[NoQuery, NoBody]) -> Response:
    return await _change(incoming, "")


async def _change(incoming: Request[NoQuery, NewReaction] | Request[NoQuery, NoBody], emoji: str) -> Response:
    messaging, user_id = incoming.context.remotes.messaging, incoming.caller.user_id
    request = ReactRequest(
        user_id=user_id,
        peer_id=incoming.path_id("user_id", NotFriends),
        message_id=incoming.path_id("message_id", MessageNotFound),
        emoji=emoji,
    )
    answer = await messaging.command(messaging.stub.react, request, repeatable=True)
    return Response(status=204, position=answer.position, written_by=user_id, concerns=request.peer_id)


_PATH = "/v1/conversations/{user_id}/messages/{message_id}/reaction"
_ERRORS = (NotFriends, MessageNotFound, MessageHasBeenDeleted)

ROUTES: tuple[AnyEndpoint, ...] = (
    Endpoint(
        method="PUT",
        path=_PATH,
        tag="Messages",
        summary="React to a message",
        description=(
            "One emoji per person and message: another one replaces it. The reactions to a message change at most 500 "
            "times; removing one's own is always possible."
        ),
        handler=react,
        query=NoQuery,
        body=NewReaction,
        answers={204: DocumentedResponse(description="Set, or set already.")},
        errors=(*_ERRORS, UserNotFound, TooManyChanges),
        limits=(AppliedLimit(limit=policies.REACT_ADDRESS), AppliedLimit(limit=policies.REACT)),
        writes=True,
        command="react",
    ),
    Endpoint(
        method="DELETE",
        path=_PATH,
        tag="Messages",
        summary="Remove one's reaction to a message",
        handler=remove,
        query=NoQuery,
        body=NoBody,
        answers={204: DocumentedResponse(description="There is none any more.")},
        errors=_ERRORS,
        limits=(AppliedLimit(limit=policies.REACT_ADDRESS), AppliedLimit(limit=policies.REACT)),
        writes=True,
        command="remove_reaction",
    ),
)
