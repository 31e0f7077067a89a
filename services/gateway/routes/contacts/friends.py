"""Routes for friendships: request, accept, decline, withdraw, remove, list."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from contracts.errors import Blocked, RequestTooSoon, SelfFriendship, TooManyPendingRequests, UserNotFound, VestnikError
from contracts.rpc.vestnik.contact.v1 import (
    AddFriendRequest,
    Friend,
    FriendState,
    GetFriendsRequest,
    RemoveFriendRequest,
)
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

State = Literal["accepted", "incoming", "outgoing"]
_STATES: dict[State, FriendState] = {
    "accepted": FriendState.ACCEPTED,
    "incoming": FriendState.INCOMING,
    "outgoing": FriendState.OUTGOING,
}
_NAMES: dict[FriendState, State] = {value: name for name, value in _STATES.items()}


class FriendsQuery(PageQuery, frozen=True):
    state: Annotated[State | None, Meta(description="Only these; default: all.")] = None


class Friendship(msgspec.Struct, frozen=True):
    """Outcome of a friend request."""

    user_id: Id
    state: Literal["requested", "accepted"]


class FriendItem(msgspec.Struct, frozen=True):
    user_id: Id
    state: Annotated[
        State, Meta(description="`incoming`: requested by the other person; `outgoing`: requested by you.")
    ]
    since: Time


async def add(incoming: Request[NoQuery, NoBody]) -> Response:
    contact, user_id = incoming.context.remotes.contact, incoming.caller.user_id
    friend_id = incoming.path_id("user_id", UserNotFound)
    request = AddFriendRequest(user_id=user_id, friend_id=friend_id)
    answer = await contact.command(contact.stub.add_friend, request, repeatable=True)
    accepted = answer.state == FriendState.ACCEPTED
    return Response(
        status=201 if answer.created and not accepted else 200,
        body=Friendship(friend_id, "accepted" if accepted else "requested"),
        position=answer.position,
        written_by=user_id,
        concerns=friend_id,
    )


async def remove(incoming: Request[NoQuery, NoBody]) -> Response:
    contact, user_id = incoming.context.remotes.contact, incoming.caller.user_id
    request = RemoveFriendRequest(user_id=user_id, friend_id=incoming.path_id("user_id", UserNotFound))
    answer = await contact.command(contact.stub.remove_friend, request, repeatable=True)
    return Response(status=204, position=answer.position, written_by=user_id, concerns=request.friend_id)


async def list_friends(incoming: Request[FriendsQuery, NoBody]) -> Response:
    contact, query = incoming.context.remotes.contact, incoming.query
    request = GetFriendsRequest(
        user_id=incoming.caller.user_id,
        state=_STATES[query.state] if query.state is not None else FriendState.UNSPECIFIED,
        limit=query.limit,
        cursor=query.cursor,
    )
    answer = await contact.read(contact.stub.get_friends, request)
    return Response(
        body=Page([_item(friend) for friend in answer.friends], answer.next or None), position=answer.position
    )


def _item(friend: Friend) -> FriendItem:
    state = _NAMES.get(friend.state)
    if state is None:
        raise VestnikError
    return FriendItem(friend.user_id, state, shown(friend.since))


_LIMITS: tuple[AppliedLimit[NoBody], ...] = (
    AppliedLimit(limit=policies.FRIENDS_ADDRESS),
    AppliedLimit(limit=policies.FRIENDS),
)

ROUTES: tuple[AnyEndpoint, ...] = (
    Endpoint(
        method="PUT",
        path="/v1/friends/{user_id}",
        tag="Friends",
        summary="Send or accept a friend request",
        description=(
            "After a declined request the next one is possible after an hour; after further declines in a row, "
            "after a day, a week, 30 days. Three withdrawn requests count as one declined."
        ),
        handler=add,
        query=NoQuery,
        body=NoBody,
        answers={
            201: DocumentedResponse(description="Asked.", body=Friendship),
            200: DocumentedResponse(description="Accepted or unchanged: the current state.", body=Friendship),
        },
        errors=(UserNotFound, SelfFriendship, Blocked, RequestTooSoon, TooManyPendingRequests),
        limits=_LIMITS,
        writes=True,
    ),
    Endpoint(
        method="DELETE",
        path="/v1/friends/{user_id}",
        tag="Friends",
        summary="End, decline or withdraw a friendship",
        handler=remove,
        query=NoQuery,
        body=NoBody,
        answers={204: DocumentedResponse(description="There is no friendship (any more).")},
        errors=(UserNotFound,),
        limits=_LIMITS,
        writes=True,
    ),
    Endpoint(
        method="GET",
        path="/v1/friends",
        tag="Friends",
        summary="List friends and requests",
        handler=list_friends,
        query=FriendsQuery,
        body=NoBody,
        answers={200: DocumentedResponse(description="A page of friends.", body=Page[FriendItem])},
        reads=True,
    ),
)
