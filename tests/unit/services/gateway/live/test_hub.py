"""The hub: from which event on a new client receives live events."""

import asyncio
from collections.abc import Collection

from contracts.subjects import PROFILE
from services.gateway.live.friend_index import FriendIndex
from services.gateway.live.hub import Hub


async def test_who_comes_behind_an_update_that_was_passed_over_gets_it_from_the_history() -> None:
    async def friends(user_id: str, contact: int) -> Collection[str]:
        return {"u1", "u2"}

    hub = Hub(FriendIndex(friends), seal=str)
    hub.start_stream(PROFILE, 100)
    # The update 101 of u1 comes while nobody here knows u1; 102 of u2 waits for the profile service meanwhile.
    hub.skip(101)
    friend_set = await hub.friend_index.acquire("anna", 0, lambda: hub.position(PROFILE))
    assert not hub.covers(PROFILE, 100, friend_set)
    assert hub.covers(PROFILE, 101, friend_set)


async def test_who_waits_for_a_place_that_is_passed_over_is_woken() -> None:
    async def nobody(user_id: str, contact: int) -> Collection[str]:
        return ()

    hub = Hub(FriendIndex(nobody), seal=str)
    hub.start_stream(PROFILE, 100)
    waiting = asyncio.create_task(hub.until_reached({PROFILE: 101}, 30))
    await asyncio.sleep(0)
    hub.skip(101)
    async with asyncio.timeout(60):
        assert await waiting
