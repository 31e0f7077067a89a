"""Friendships with a person who is erased: friends stay, requests end, blocks stay, and no one requests anything."""

import asyncio

import pytest

from contracts.errors import UserNotFound
from contracts.events.friendship import FriendshipCreated, FriendshipRemoved
from contracts.rpc.vestnik.contact.v1 import Relation
from contracts.subjects import friendship
from contracts.values.ids import pair_id
from tests.integration.contact.contact_calls import add, block, blocks, friends, latest, relation, unblock
from tests.integration.service_cluster import House, people

pytestmark = pytest.mark.asyncio(loop_scope="module")
# Seconds until the machine has done it, however busy it is. Requests are swept once a minute.
PATIENCE = 180


async def test_requests_end_and_friends_and_blocks_stay(house: House) -> None:
    anna, ben, clara, dora, eva = await people(house, 5)
    replicas = [house.client("contact", number) for number in (0, 1)]
    client = replicas[0]
    await add(client, anna, ben)
    positions = [(await add(client, ben, anna)).position]
    positions += [(await add(client, anna, clara)).position, (await add(client, dora, anna)).position]
    positions.append(await block(client, eva, anna))
    for replica in replicas:
        # So that both have her in their caches.
        await add(replica, anna, ben)
    erased = await house.erase(anna)
    everything = latest(*positions, erased)
    for replica in replicas:
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    await add(replica, dora, anna)
                except UserNotFound:
                    break
                await asyncio.sleep(0.01)
        for user_id in (clara, eva):
            with pytest.raises(UserNotFound):
                await add(replica, user_id, anna)
        with pytest.raises(UserNotFound):
            await block(replica, clara, anna)
        # Requests are shown no more, whether their end is recorded or not.
        assert await friends(replica, clara, everything) == await friends(replica, dora, everything) == []
        assert [friend.user_id for friend in await friends(replica, ben, everything)] == [anna]
        assert await relation(replica, ben, anna) is Relation.FRIENDS
        assert await blocks(replica, eva, everything) == [anna]
    async with asyncio.timeout(PATIENCE):
        for other in (clara, dora):
            subject = friendship(pair_id(anna, other))
            while len(events := [message.open().data for message in await house.log.read(subject)]) < 2:
                await asyncio.sleep(0.05)
            created, removed = events
            assert isinstance(created, FriendshipCreated)
            assert isinstance(removed, FriendshipRemoved)
            # As if the request had been withdrawn; no one is notified, and no pause follows.
            assert (removed.remover_id, removed.expired) == (created.requester_id, False)
            assert (removed.remover_setbacks, removed.other_setbacks) == (0, 0)
    position = await unblock(client, eva, anna)
    assert await blocks(replicas[1], eva, position) == []
