"""Positions that clients bring: which of them are refused, and by whose word."""

from collections.abc import Callable, Collection

import pytest

from contracts.errors import Invalid, NoQuorum
from contracts.positions import Position
from contracts.subjects import MESSAGING
from services.gateway.live.fanout import STREAMS
from services.gateway.live.friend_index import FriendIndex
from services.gateway.live.hub import Hub
from services.gateway.live.start_position import resolve_start

END = 5
AHEAD = Position.at(MESSAGING, END + 1)


async def last_sequence(stream: str) -> int:
    return END


def hub() -> Hub:
    async def friends(user_id: str, contact: int) -> Collection[str]:
        return ()

    found = Hub(FriendIndex(friends), seal=str)
    for stream in STREAMS:
        found.start_stream(stream, END)
    return found


def refuses() -> None:
    raise NoQuorum(retry_after=5)


async def bring(since: Position, confirm: Callable[[], None]) -> int:
    found = await resolve_start(hub(), last_sequence, since, Position(), STREAMS, confirm)
    return found[MESSAGING]


async def test_a_position_behind_the_end_of_a_stream_is_another_systems() -> None:
    with pytest.raises(Invalid):
        await bring(AHEAD, lambda: None)


async def test_it_is_not_refused_on_the_word_of_a_node_that_may_be_cut_off() -> None:
    with pytest.raises(NoQuorum):
        await bring(AHEAD, refuses)


async def test_what_is_known_here_needs_nobody_s_word() -> None:
    assert await bring(Position.at(MESSAGING, END), refuses) == END
    assert await bring(Position(), refuses) == END
