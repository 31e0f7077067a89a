"""Waiters are woken when the position is reached, and leave nothing behind."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import ReadModelBehind
from contracts.positions import Position
from contracts.subjects import CONTACT, MESSAGING, SESSION
from projections.engine import Projection
from projections.engine.waiting.wait_queue import MOST_WAITING, CheckpointNotice, WaitQueue


class OfTwo(Projection):
    streams = (MESSAGING, CONTACT)


POSITIONS = st.dictionaries(st.sampled_from([MESSAGING, CONTACT, SESSION]), st.integers(0, 8))
NOTICES = st.builds(CheckpointNotice, st.sampled_from(["one", "other"]), POSITIONS)


@given(st.lists(st.one_of(POSITIONS.map(Position), NOTICES), max_size=40))
def test_everybody_is_woken_at_the_first_word_that_is_enough(steps: list[Position | CheckpointNotice]) -> None:
    async def run() -> None:
        room = WaitQueue(OfTwo)
        waiting = []
        for step in steps:
            if isinstance(step, Position):
                waiting.append(room.add(step))
            else:
                room.advance(step)
            assert [waiter.woken.done() for waiter in waiting if room.has(waiter.position)] == [
                True for waiter in waiting if room.has(waiter.position)
            ]
        for waiter in waiting:
            if not waiter.woken.done():
                assert not room.has(waiter.position)
            room.remove(waiter)
        assert len(room) == 0

    asyncio.run(run())


async def test_the_word_of_another_build_counts_alone() -> None:
    room = WaitQueue(OfTwo)
    room.advance(CheckpointNotice("one", {MESSAGING: 9, CONTACT: 1}))
    waiter = room.add(Position({MESSAGING: 5, CONTACT: 5}))
    room.advance(CheckpointNotice("other", {MESSAGING: 3, CONTACT: 5}))
    assert not waiter.woken.done()
    assert not room.has(Position.at(MESSAGING, 4))
    room.advance(CheckpointNotice("other", {MESSAGING: 5}))
    assert waiter.woken.done()


async def test_a_late_word_does_not_take_back_an_earlier_one() -> None:
    room = WaitQueue(OfTwo)
    room.advance(CheckpointNotice("one", {MESSAGING: 9}))
    room.advance(CheckpointNotice("one", {MESSAGING: 8}))
    assert room.has(Position.at(MESSAGING, 9))


async def test_a_cancelled_waiter_leaves_nothing_behind() -> None:
    room = WaitQueue(OfTwo)
    for _ in range(5):
        waiters = [room.add(Position.at(MESSAGING, 2**62)) for _ in range(2_000)]
        for waiter in waiters:
            room.remove(waiter)
    assert len(room) == 0
    assert sum(map(len, room._queues.values())) <= 200


async def test_more_than_can_be_helped_are_turned_away() -> None:
    room = WaitQueue(OfTwo)
    waiters = [room.add(Position.at(MESSAGING, 1)) for _ in range(MOST_WAITING)]
    with pytest.raises(ReadModelBehind) as caught:
        room.add(Position.at(MESSAGING, 1))
    assert caught.value.retry_after == 1
    room.advance(CheckpointNotice("one", {MESSAGING: 1}))
    assert all(waiter.woken.done() for waiter in waiters)


async def test_a_database_that_went_back_has_not_reached_what_it_had() -> None:
    room = WaitQueue(OfTwo)
    room.advance(CheckpointNotice("one", {MESSAGING: 9, CONTACT: 4}))
    before = room.known
    notice = CheckpointNotice("one", {MESSAGING: 8, CONTACT: 4})
    assert notice.is_behind(before)
    room.go_back(notice)
    assert not room.has(Position.at(MESSAGING, 9))
    assert room.has(Position({MESSAGING: 8, CONTACT: 4}))
    waiter = room.add(Position.at(MESSAGING, 9))
    room.advance(CheckpointNotice("one", {MESSAGING: 9, CONTACT: 4}))
    assert waiter.woken.done()


async def test_the_checkpoints_of_another_build_are_not_behind() -> None:
    assert not CheckpointNotice("other", {MESSAGING: 1}).is_behind(CheckpointNotice("one", {MESSAGING: 9}))
    assert not CheckpointNotice("one", {MESSAGING: 9}).is_behind(CheckpointNotice("one", {MESSAGING: 9}))
    room = WaitQueue(OfTwo)
    room.advance(CheckpointNotice("one", {MESSAGING: 9}))
    room.go_back(CheckpointNotice("other", {MESSAGING: 1}))
    assert room.has(Position.at(MESSAGING, 9))
