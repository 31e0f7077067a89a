"""Friend requests that no one answers, with terms of seconds: two replicas, killed meanwhile."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from contracts.events.event import Event
from contracts.events.friendship import FriendshipCreated, FriendshipRemoved
from contracts.rpc.vestnik.contact.v1 import FriendState
from contracts.subjects import friendship
from contracts.values.ids import pair_id
from tests.integration.contact.contact_calls import add, friends
from tests.integration.service_cluster import House, people

pytestmark = pytest.mark.asyncio(loop_scope="module")
SECOND = 1 / 86_400
# Seconds until the machine has done it, however busy it is.
PATIENCE = 120


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """Reminds after two seconds, and cancels after four."""
    house = House(
        tmp_path_factory.mktemp("requests"),
        ("auth", "contact"),
        friend_request_remind_days=2 * SECOND,
        friend_request_cancel_days=4 * SECOND,
    )
    try:
        await house.start()
        yield house
    finally:
        await house.stop()


async def events(house: House, one: str, other: str) -> list[Event]:
    return [message.open().data for message in await house.log.read(friendship(pair_id(one, other)))]


async def test_each_is_reminded_of_once_and_cancelled_once_though_the_replicas_are_killed(house: House) -> None:
    anna, *others = await people(house, 6)
    client = house.client("contact")
    for other in others:
        await add(client, anna, other)
    killed = asyncio.create_task(house.kill("contact"))
    async with asyncio.timeout(PATIENCE):
        for other in others:
            while len(await events(house, anna, other)) < 2:
                await asyncio.sleep(0.05)
        await killed
        await house.kill("contact")
        for other in others:
            while len(await events(house, anna, other)) < 3:
                await asyncio.sleep(0.05)
    await house.kill("contact")
    for other in others:
        asked, reminder, cancelled = await events(house, anna, other)
        assert isinstance(asked, FriendshipCreated)
        assert isinstance(reminder, FriendshipCreated)
        assert isinstance(cancelled, FriendshipRemoved)
        assert (asked.is_reminder, reminder.is_reminder, cancelled.expired) == (False, True, True)
    again = await add(client, anna, others[0])
    assert (again.state, again.created) == (FriendState.OUTGOING, True)


async def test_an_accepted_request_is_left_alone(house: House) -> None:
    anna, ben, carl = await people(house, 3)
    client = house.client("contact")
    await add(client, anna, carl)
    await add(client, anna, ben)
    accepted = await add(client, ben, anna)
    # Carl's request is as old: when its time is over, so would Ben's be.
    async with asyncio.timeout(PATIENCE):
        while len(await events(house, anna, carl)) < 3:
            await asyncio.sleep(0.05)
    assert [type(event).__name__ for event in await events(house, anna, ben)][-1] == "FriendshipAccepted"
    (friend,) = await friends(client, anna, accepted.position, FriendState.ACCEPTED)
    assert friend.user_id == ben
