"""Positions that clients send: waited for, and never rejected as those of another system."""

import asyncio
from collections.abc import Collection

import pytest

from contracts.errors import Unavailable
from contracts.positions import Position
from contracts.subjects import MESSAGING
from services.gateway.live.fanout import STREAMS
from services.gateway.live.friend_index import FriendIndex
from services.gateway.live.hub import Hub
from services.gateway.live.start_position import resolve_start

END = 5
AHEAD = Position.at(MESSAGING, END + 1)


def hub() -> Hub:
    async def friends(user_id: str, contact: int) -> Collection[str]:
        return ()

    following = Hub(FriendIndex(friends), seal=str)
    for stream in STREAMS:
        following.start_stream(stream, END)
    return following


async def resolved_start(hub: Hub, since: Position, *, patience: float = 60.0) -> int:
    return (await resolve_start(hub, since, Position(), STREAMS, patience=patience))[MESSAGING]


async def test_a_position_ahead_of_this_gateway_is_waited_for() -> None:
    following = hub()
    start = asyncio.create_task(resolved_start(following, AHEAD))
    await asyncio.sleep(0)
    assert not start.done()
    following.advance(MESSAGING, END + 1)
    assert await start == END + 1


async def test_a_position_that_is_not_reached_in_time_is_an_outage_and_not_a_mistake_of_the_client() -> None:
    with pytest.raises(Unavailable) as unavailable:
        await resolved_start(hub(), AHEAD, patience=0.0)
    assert unavailable.value.retry_after


async def test_a_position_that_was_reached_is_where_events_begin() -> None:
    assert await resolved_start(hub(), Position.at(MESSAGING, END)) == END
    assert await resolved_start(hub(), Position()) == END
