"""Routes for what is done to a message after it was sent: edit, delete."""

import msgspec

from contracts.errors import (
    EditWindowOver,
    MessageHasBeenDeleted,
    MessageNotFound,
    NotFriends,
    NotSender,
    TooManyChanges,
)
from contracts.messages import SentMessage
from contracts.rpc.vestnik.messaging.v1 import DeleteMessageRequest, EditMessageRequest
from contracts.values.field_types import Text
from services.gateway.http.endpoint import (
    JSON,
    MERGE_PATCH,
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

_PATH = "/v1/conversations/{user_id}/messages/{message_id}"


class Edit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    text: Text


async def edit(incoming: Request[NoQuery, Edit]) -> Response:
    messaging, user_id = incoming.context.remotes.messaging, incoming.caller.user_id
    request = EditMessageRequest(
        user_id=user_id,
        peer_id=incoming.path_id("user_id", NotFriends),
        message_id=incoming.path_id("message_id", MessageNotFound),
        text=incoming.body.text,
    )
    answer = await messaging.command(messaging.stub.edit_message, request, repeatable=True)
    return Response(
        body=answer.message,
        headers={"content-type": JSON},
        position=answer.position,
        written_by=user_id,
        concerns=request.peer_id,
    )


async def delete(incoming: Request[NoQuery, NoBody]) -> Response:
    messaging, user_id = incoming.context.remotes.messaging, incoming.caller.user_id
    request = DeleteMessageRequest(
        user_id=user_id,
        peer_id=incoming.path_id("user_id", NotFriends),
        message_id=incoming.path_id("message_id", MessageNotFound),
    )
    answer = await messaging.command(messaging.stub.delete_message, request, repeatable=True)
    return Response(status=204, position=answer.position, written_by=user_id, concerns=request.peer_id)


ROUTES: tuple[AnyEndpoint, ...] = (
    Endpoint(
        method="PATCH",
        path=_PATH,
        tag="Messages",
        summary="Edit one's own message",
        description=(
            "For a time after it was sent, 48 hours by default, and at most 500 times. The text that it has changes "
            "nothing."
        ),
        handler=edit,
        query=NoQuery,
        body=Edit,
        answers={200: DocumentedResponse(description="The message as it is now.", body=SentMessage)},
        errors=(NotFriends, NotSender, MessageNotFound, MessageHasBeenDeleted, EditWindowOver, TooManyChanges),
        limits=(AppliedLimit(limit=policies.CHANGE_ADDRESS), AppliedLimit(limit=policies.CHANGE)),
        media_types=(JSON, MERGE_PATCH),
        writes=True,
        command="edit",
    ),
    Endpoint(
        method="DELETE",
        path=_PATH,
        tag="Messages",
        summary="Delete one's own message",
        description="The message keeps its place and sequence; its text is gone for both. A repeat changes nothing.",
        handler=delete,
        query=NoQuery,
        body=NoBody,
        answers={204: DocumentedResponse(description="Deleted.")},
        errors=(NotFriends, NotSender, MessageNotFound, EditWindowOver),
        limits=(AppliedLimit(limit=policies.CHANGE_ADDRESS), AppliedLimit(limit=policies.CHANGE)),
        writes=True,
        command="delete",
    ),
)
