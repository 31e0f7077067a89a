"""Friendships over real gRPC, with two replicas that share only the stream."""

import asyncio
import secrets

import msgspec
import pytest

from contracts.errors import (
    Blocked,
    Forbidden,
    Invalid,
    RequestTooSoon,
    SelfBlock,
    SelfFriendship,
    TooManyPendingRequests,
    UserNotFound,
)
from contracts.rpc.vestnik.contact.v1 import (
    BackfillRequest,
    ContactServiceStub,
    FriendState,
    GetFriendsRequest,
    Relation,
)
from contracts.subjects import friendship
from contracts.values.ids import new_id, pair_id
from tests.integration.contact.conftest import MOST_PENDING
from tests.integration.contact.contact_calls import (
    add,
    block,
    blocks,
    changes_of,
    friends,
    latest,
    relation,
    remove,
    unblock,
)
from tests.integration.service_cluster import House, people, seen

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def types(house: House, one: str, other: str) -> list[str]:
    return [message.envelope().type for message in await house.log.read(friendship(pair_id(one, other)))]


async def test_a_request_is_accepted_by_adding_back(house: House) -> None:
    anna, ben = await people(house)
    client = house.client("contact")
    asked = await add(client, anna, ben)
    assert (asked.state, asked.created) == (FriendState.OUTGOING, True)
    assert [friend.state for friend in await friends(client, ben, asked.position)] == [FriendState.INCOMING]
    accepted = await add(client, ben, anna)
    assert (accepted.state, accepted.created) == (FriendState.ACCEPTED, False)
    for user_id, other in ((anna, ben), (ben, anna)):
        (friend,) = await friends(client, user_id, accepted.position, FriendState.ACCEPTED)
        assert friend.user_id == other
    again = await add(client, anna, ben)
    assert (again.state, again.created, again.position) == (FriendState.ACCEPTED, False, accepted.position)
    assert await types(house, anna, ben) == ["friendship.created", "friendship.accepted"]


async def test_both_add_each_other_at_once_and_are_friends_once(house: House) -> None:
    one, other = house.client("contact", 0), house.client("contact", 1)
    for _ in range(15):
        anna, ben = await people(house)
        answers = await asyncio.gather(
            *(add(client, *pair) for client in (one, other) for pair in ((anna, ben), (ben, anna)))
        )
        assert await types(house, anna, ben) == ["friendship.created", "friendship.accepted"]
        assert sum(answer.created for answer in answers) == 1
        assert await relation(one, anna, ben) is Relation.FRIENDS


async def test_a_replica_never_answers_from_what_it_remembers(house: House) -> None:
    anna, ben = await people(house)
    one, other = house.client("contact", 0), house.client("contact", 1)
    await add(one, anna, ben)
    await add(one, ben, anna)
    for _ in range(5):
        assert await relation(other, anna, ben) is Relation.FRIENDS
        await remove(one, anna, ben)
        assert await relation(other, anna, ben) is Relation.NOT_FRIENDS
        assert (await add(other, ben, anna)).state is FriendState.OUTGOING
        assert (await add(one, anna, ben)).state is FriendState.ACCEPTED
    await remove(other, anna, ben)
    before = await types(house, anna, ben)
    await remove(one, ben, anna)
    assert await types(house, anna, ben) == before


async def test_strangers_are_not_friends_and_nobody_is_invented(house: House) -> None:
    anna, ben = await people(house)
    client = house.client("contact")
    assert await relation(client, anna, ben) is Relation.NOT_FRIENDS
    assert await relation(client, anna, new_id()) is Relation.UNKNOWN_USER
    assert await remove(client, anna, ben) == ""
    with pytest.raises(UserNotFound):
        await add(client, anna, new_id())
    with pytest.raises(SelfFriendship):
        await add(client, anna, anna)
    with pytest.raises(Invalid) as caught:
        await add(client, anna, "nobody")
    assert [violation.path for violation in caught.value.violations] == ["/friend_id"]


async def test_a_list_comes_in_pages_latest_first(house: House) -> None:
    anna, *others = await people(house, 6)
    client = house.client("contact")
    for other in others:
        position = (await add(client, anna, other)).position
    stub = client.stub(ContactServiceStub)
    friend_ids: list[str] = []
    cursor = ""
    for _ in range(4):
        request = GetFriendsRequest(user_id=anna, state=FriendState.OUTGOING, limit=2, cursor=cursor)
        page = await client.call(stub.get_friends, request, context=seen(position))
        friend_ids += [friend.user_id for friend in page.friends]
        cursor = page.next
        if not cursor:
            break
    assert friend_ids == others[::-1]
    with pytest.raises(Invalid):
        await client.call(stub.get_friends, GetFriendsRequest(user_id=anna, cursor="nonsense"))


async def test_who_was_declined_waits_before_asking_again_at_every_replica(house: House) -> None:
    anna, ben = await people(house)
    one, other = house.client("contact", 0), house.client("contact", 1)
    await add(one, anna, ben)
    await remove(one, ben, anna)
    for client in (one, other):
        with pytest.raises(RequestTooSoon) as refused:
            await add(client, anna, ben)
        assert refused.value.retry_after is not None
        assert 3_000 < refused.value.retry_after <= 3_600
    assert (await add(other, ben, anna)).created
    assert (await add(other, anna, ben)).state is FriendState.ACCEPTED


async def test_so_many_requests_of_one_user_wait_and_no_more(house: House) -> None:
    anna, *others = await people(house, MOST_PENDING + 3)
    *asked, asking, one_more = others
    client = house.client("contact")
    for other in asked:
        position = (await add(client, anna, other)).position
    await friends(client, anna, position)
    await add(client, asking, anna)
    with pytest.raises(TooManyPendingRequests):
        await add(client, anna, one_more)
    # What is no request of one's own goes on.
    assert (await add(client, anna, asking)).state is FriendState.ACCEPTED
    assert (await add(client, anna, asked[0])).state is FriendState.OUTGOING
    await friends(client, anna, await remove(client, anna, asked[0]))
    assert (await add(client, anna, one_more)).created


async def test_a_client_that_was_away_receives_every_change(house: House) -> None:
    anna, ben, cleo = await people(house, 3)
    client = house.client("contact")
    await add(client, anna, ben)
    await remove(client, ben, anna)
    position = (await add(client, cleo, anna)).position
    stub = client.stub(ContactServiceStub)
    request = BackfillRequest(user_id=anna, after=0)
    events = [event async for event in client.stream(stub.backfill, request, context=seen(position))]
    changes = [(event.type, msgspec.json.decode(event.data)) for event in events]
    assert [(kind, data["user_id"], data["state"]) for kind, data in changes] == [
        ("friendship.created", ben, "outgoing"),
        ("friendship.removed", ben, "removed"),
        ("friendship.created", cleo, "incoming"),
    ]
    request = BackfillRequest(user_id=anna, after=events[0].sequence)
    rest = [event async for event in client.stream(stub.backfill, request, context=seen(position))]
    assert [event.sequence for event in rest] == [events[1].sequence, events[2].sequence]
    request = BackfillRequest(user_id=anna, after=0, limit=2)
    first = [event async for event in client.stream(stub.backfill, request, context=seen(position))]
    assert [event.sequence for event in first] == [event.sequence for event in events[:2]]


async def test_only_the_gateway_and_messaging_may_ask(house: House) -> None:
    anna, ben = await people(house)
    assert await relation(house.client("contact", me="messaging"), anna, ben) is Relation.NOT_FRIENDS
    with pytest.raises(Forbidden):
        await relation(house.client("contact", me="session"), anna, ben)


async def test_an_unverified_account_is_an_unknown_id_to_others_until_it_is_verified(house: House) -> None:
    anna, ben = await people(house)
    unverified, _ = await house.register_unverified(f"u{secrets.token_hex(6)}")
    for replica in (0, 1):
        client = house.client("contact", replica)
        with pytest.raises(UserNotFound):
            await add(client, anna, unverified)
        assert await relation(client, anna, unverified) is Relation.UNKNOWN_USER
    await house.verify(unverified)
    for replica, friend in ((0, anna), (1, ben)):
        client = house.client("contact", replica)
        assert (await add(client, friend, unverified)).state is FriendState.OUTGOING


async def test_a_block_and_an_acceptance_at_the_same_moment_have_one_order(house: House) -> None:
    one, other = house.client("contact", 0), house.client("contact", 1)
    for _ in range(15):
        anna, ben = await people(house)
        await add(one, anna, ben)
        answer, first, second = await asyncio.gather(
            add(one, ben, anna), block(one, anna, ben), block(other, anna, ben)
        )
        position = latest(answer.position, first, second)
        accepted = answer.state is FriendState.ACCEPTED
        # Where the block was first, the acceptance became a request that only ben sees.
        ended_first = ["friendship.removed", "friendship.blocked"]
        order = ["friendship.accepted", *ended_first] if accepted else [*ended_first, "friendship.created"]
        assert await types(house, anna, ben) == ["friendship.created", *order]
        assert answer.created is not accepted
        for client in (one, other):
            assert await relation(client, ben, anna) is Relation.NOT_FRIENDS
            assert await blocks(client, anna, position) == [ben]
            assert await friends(client, anna, position) == []


async def test_only_the_one_who_blocks_sees_the_block(house: House) -> None:
    anna, ben = await people(house)
    one, other = house.client("contact", 0), house.client("contact", 1)
    await block(one, anna, ben)
    assert (await add(other, ben, anna)).created
    again = await add(one, ben, anna)
    assert (again.state, again.created) == (FriendState.OUTGOING, False)
    for client in (one, other):
        with pytest.raises(Blocked):
            await add(client, anna, ben)
        assert [friend.state for friend in await friends(client, ben, again.position)] == [FriendState.OUTGOING]
        assert await friends(client, anna, again.position) == []
        assert await blocks(client, ben, again.position) == []
    before = await types(house, anna, ben)
    await remove(one, anna, ben)
    await block(other, anna, ben)
    assert await types(house, anna, ben) == before == ["friendship.blocked", "friendship.created"]

    position = await unblock(other, anna, ben)
    assert await friends(one, ben, position) == await friends(one, anna, position) == []
    assert await blocks(one, anna, position) == []
    await unblock(one, anna, ben)
    assert await types(house, anna, ben) == [*before, "friendship.removed", "friendship.unblocked"]
    assert (await add(one, ben, anna)).created
    assert (await add(one, anna, ben)).state is FriendState.ACCEPTED


async def test_a_request_from_before_a_block_stays_as_it_was_to_its_requester(house: House) -> None:
    anna, ben = await people(house)
    one, other = house.client("contact", 0), house.client("contact", 1)
    asked = await add(one, ben, anna)
    before = await friends(one, ben, asked.position)
    position = await block(other, anna, ben)
    assert await friends(one, ben, position) == before
    assert await friends(one, anna, position) == []
    again = await add(other, ben, anna)
    assert (again.state, again.created) == (FriendState.OUTGOING, False)
    with pytest.raises(Blocked):
        await add(one, anna, ben)
    position = await unblock(one, anna, ben)
    assert await friends(one, ben, position) == await friends(one, anna, position) == []
    assert await changes_of(one, ben, position) == [
        ("friendship.created", "outgoing"),
        ("friendship.removed", "removed"),
    ]
    assert await changes_of(one, anna, position) == [
        ("friendship.created", "incoming"),
        ("friendship.removed", "removed"),
        ("block.changed", True),
        ("block.changed", False),
    ]
    assert (await add(other, ben, anna)).created


async def test_both_may_block_each_other_at_the_same_moment(house: House) -> None:
    anna, ben = await people(house)
    one, other = house.client("contact", 0), house.client("contact", 1)
    await add(one, anna, ben)
    positions = await asyncio.gather(block(one, anna, ben), block(other, ben, anna))
    # If ben blocked first, anna's request went on for anna alone, and anna's block withdrew it.
    both = [kind for kind in (await types(house, anna, ben))[1:] if kind != "friendship.removed"]
    assert both == ["friendship.blocked", "friendship.blocked"]
    for user_id, blocked_id in ((anna, ben), (ben, anna)):
        assert await blocks(one, user_id, latest(*positions)) == [blocked_id]
        with pytest.raises(Blocked):
            await add(other, user_id, blocked_id)
    await unblock(other, anna, ben)
    assert (await add(one, anna, ben)).state is FriendState.OUTGOING
    with pytest.raises(Blocked):
        await add(one, ben, anna)


async def test_blocks_are_listed_in_pages_latest_first(house: House) -> None:
    anna, *others = await people(house, 6)
    client = house.client("contact")
    for other in others:
        position = await block(client, anna, other)
    assert await blocks(client, anna, position, limit=2) == others[::-1]
    with pytest.raises(SelfBlock):
        await block(client, anna, anna)
    for change in (block, unblock):
        with pytest.raises(UserNotFound):
            await change(client, anna, new_id())
    assert await unblock(client, others[0], others[1]) == ""


async def test_a_backfill_has_the_blocks_of_the_one_who_blocks_alone(house: House) -> None:
    anna, ben = await people(house)
    client = house.client("contact")
    await add(client, anna, ben)
    await add(client, ben, anna)
    await block(client, anna, ben)
    await add(client, ben, anna)
    position = await unblock(client, anna, ben)
    assert (await changes_of(client, anna, position))[2:] == [
        ("friendship.removed", "removed"),
        ("block.changed", True),
        ("block.changed", False),
    ]
    assert (await changes_of(client, ben, position))[2:] == [
        ("friendship.removed", "removed"),
        ("friendship.created", "outgoing"),
        ("friendship.removed", "removed"),
    ]
