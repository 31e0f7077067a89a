"""Routes for blocks: block, unblock, list."""

import msgspec

from contracts.errors import SelfBlock, UserNotFound
from contracts.rpc.vestnik.contact.v1 import BlockUserRequest, ListBlockedRequest, UnblockUserRequest
from contracts.values.field_types import Id
from services.gateway.http.endpoint import (
    AnyEndpoint,
    AppliedLimit,
    DocumentedResponse,
    Endpoint,
    NoBody,
    NoQuery,
    Page,
    Request,
    Response,
)
from services.gateway.http.query_params import PageQuery
from services.gateway.limits import policies
from services.gateway.routes.timestamps import Time, shown


class BlockItem(msgspec.Struct, frozen=True):
    user_id: Id
    since: Time


async def block(incoming: Request[NoQuery, NoBody]) -> Response:
    contact, user_id = incoming.context.remotes.contact, incoming.caller.user_id
    request = BlockUserRequest(user_id=user_id, blocked_id=incoming.path_id("user_id", UserNotFound))
    answer = await contact.command(contact.stub.block_user, request, repeatable=True)
    return Response(status=204, position=answer.position, written_by=user_id, concerns=request.blocked_id)


async def unblock(incoming: Request[NoQuery, NoBody]) -> Response:
    contact, user_id = incoming.context.remotes.contact, incoming.caller.user_id
    request = UnblockUserRequest(user_id=user_id, blocked_id=incoming.path_id("user_id", UserNotFound))
    answer = await contact.command(contact.stub.unblock_user, request, repeatable=True)
    return Response(status=204, position=answer.position, written_by=user_id, concerns=request.blocked_id)


async def list_blocks(incoming: Request[PageQuery, NoBody]) -> Response:
    contact, query = incoming.context.remotes.contact, incoming.query
    request = ListBlockedRequest(user_id=incoming.caller.user_id, limit=query.limit, cursor=query.cursor)
    answer = await contact.read(contact.stub.list_blocked, request)
    items = [BlockItem(blocked.user_id, shown(blocked.since)) for blocked in answer.blocked]
    return Response(body=Page(items, answer.next or None), position=answer.position)


_LIMITS: tuple[AppliedLimit[NoBody], ...] = (
    AppliedLimit(limit=policies.FRIENDS_ADDRESS),
    AppliedLimit(limit=policies.FRIENDS),
)

ROUTES: tuple[AnyEndpoint, ...] = (
    Endpoint(
        method="PUT",
        path="/v1/blocks/{user_id}",
        tag="Blocks",
        summary="Block a user",
        description=(
            "Ends a friendship of the two, and a request of the user who blocks. The blocked user is not informed: to "
            "them a friendship has ended, and their requests, also one from before, stay outgoing and unanswered."
        ),
        handler=block,
        query=NoQuery,
        body=NoBody,
        answers={204: DocumentedResponse(description="The user is blocked.")},
        errors=(UserNotFound, SelfBlock),
        limits=_LIMITS,
        writes=True,
    ),
    Endpoint(
        method="DELETE",
        path="/v1/blocks/{user_id}",
        tag="Blocks",
        summary="Unblock a user",
        description=(
            "A request of the user is dropped, who may send another one at once. An ended friendship does not return."
        ),
        handler=unblock,
        query=NoQuery,
        body=NoBody,
        answers={204: DocumentedResponse(description="The user is not blocked (any more).")},
        errors=(UserNotFound, SelfBlock),
        limits=_LIMITS,
        writes=True,
    ),
    Endpoint(
        method="GET",
        path="/v1/blocks",
        tag="Blocks",
        summary="List blocked users",
        handler=list_blocks,
        query=PageQuery,
        body=NoBody,
        answers={200: DocumentedResponse(description="A page of blocked users, latest first.", body=Page[BlockItem])},
        reads=True,
    ),
)
