"""Calls of contact over gRPC, and what a user sees of friends and blocks."""

from functools import reduce

import msgspec

from contracts.positions import Position
from contracts.rpc.vestnik.contact.v1 import (
    AddFriendRequest,
    AddFriendResponse,
    BackfillRequest,
    BlockUserRequest,
    ContactServiceStub,
    Friend,
    FriendState,
    GetFriendsRequest,
    IsFriendRequest,
    ListBlockedRequest,
    Relation,
    RemoveFriendRequest,
    UnblockUserRequest,
)
from infra.rpc.client import Client
from tests.integration.service_cluster import seen


async def add(client: Client, user_id: str, friend_id: str) -> AddFriendResponse:
    stub = client.stub(ContactServiceStub)
    return await client.call(stub.add_friend, AddFriendRequest(user_id=user_id, friend_id=friend_id))


async def remove(client: Client, user_id: str, friend_id: str) -> str:
    stub = client.stub(ContactServiceStub)
    request = RemoveFriendRequest(user_id=user_id, friend_id=friend_id)
    return (await client.call(stub.remove_friend, request)).position


async def block(client: Client, user_id: str, blocked_id: str) -> str:
    stub = client.stub(ContactServiceStub)
    request = BlockUserRequest(user_id=user_id, blocked_id=blocked_id)
    return (await client.call(stub.block_user, request)).position


async def unblock(client: Client, user_id: str, blocked_id: str) -> str:
    stub = client.stub(ContactServiceStub)
    request = UnblockUserRequest(user_id=user_id, blocked_id=blocked_id)
    return (await client.call(stub.unblock_user, request)).position


async def changes_of(client: Client, user_id: str, position: str) -> list[tuple[str, object]]:
    """The live events of friendships and blocks that a client of the user is sent after an absence: type and state."""
    request = BackfillRequest(user_id=user_id, after=0)
    stub = client.stub(ContactServiceStub)
    events = [event async for event in client.stream(stub.backfill, request, context=seen(position))]
    changes = [(event.type, msgspec.json.decode(event.data)) for event in events]
    return [(kind, data["state"] if "state" in data else data["blocked"]) for kind, data in changes]


async def blocks(client: Client, user_id: str, position: str, limit: int = 50) -> list[str]:
    """The ids of all users whom the user blocks, read in pages of `limit`."""
    stub, ids, cursor = client.stub(ContactServiceStub), list[str](), ""
    while True:
        request = ListBlockedRequest(user_id=user_id, limit=limit, cursor=cursor)
        page = await client.call(stub.list_blocked, request, context=seen(position))
        assert len(page.blocked) <= limit
        ids += [blocked.user_id for blocked in page.blocked]
        cursor = page.next
        if not cursor:
            return ids


def latest(*positions: str) -> str:
    return reduce(Position.merge, map(Position.decode, positions)).encode()


async def relation(client: Client, user_id: str, friend_id: str) -> Relation:
    stub = client.stub(ContactServiceStub)
    request = IsFriendRequest(user_id=user_id, friend_id=friend_id)
    return (await client.call(stub.is_friend, request)).relation


async def friends(
    client: Client, user_id: str, position: str, state: FriendState = FriendState.UNSPECIFIED
) -> list[Friend]:
    stub = client.stub(ContactServiceStub)
    request = GetFriendsRequest(user_id=user_id, state=state)
    return (await client.call(stub.get_friends, request, context=seen(position))).friends
