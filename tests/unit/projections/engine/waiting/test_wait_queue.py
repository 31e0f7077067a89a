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
def test_every_waiter_is_woken_by_the_first_sufficient_notice(steps: list[Position | CheckpointNotice]) -> None:
    async def run() -> None:
        queue = WaitQueue(OfTwo)
        waiting = []
        for step in steps:
            if isinstance(step, Position):
                waiting.append(queue.add(step))
            else:
                queue.advance(step)
            assert [waiter.woken.done() for waiter in waiting if queue.has(waiter.position)] == [
                True for waiter in waiting if queue.has(waiter.position)
            ]
        for waiter in waiting:
            if not waiter.woken.done():
                assert not queue.has(waiter.position)
            queue.remove(waiter)
        assert len(queue) == 0

    asyncio.run(run())


async def test_notices_of_different_builds_are_not_combined() -> None:
    queue = WaitQueue(OfTwo)
    queue.advance(CheckpointNotice("one", {MESSAGING: 9, CONTACT: 1}))
    waiter = queue.add(Position({MESSAGING: 5, CONTACT: 5}))
    queue.advance(CheckpointNotice("other", {MESSAGING: 3, CONTACT: 5}))
    assert not waiter.woken.done()
    assert not queue.has(Position.at(MESSAGING, 4))
    queue.advance(CheckpointNotice("other", {MESSAGING: 5}))
    assert waiter.woken.done()


async def test_a_late_notice_does_not_take_back_an_earlier_one() -> None:
    queue = WaitQueue(OfTwo)
    queue.advance(CheckpointNotice("one", {MESSAGING: 9}))
    queue.advance(CheckpointNotice("one", {MESSAGING: 8}))
    assert queue.has(Position.at(MESSAGING, 9))


async def test_a_cancelled_waiter_leaves_nothing_behind() -> None:
    queue = WaitQueue(OfTwo)
    for _ in range(5):
        waiters = [queue.add(Position.at(MESSAGING, 2**62)) for _ in range(2_000)]
        for waiter in waiters:
            queue.remove(waiter)
    assert len(queue) == 0
    assert sum(map(len, queue._queues.values())) <= 200


async def test_waiters_above_the_limit_are_refused() -> None:
    queue = WaitQueue(OfTwo)
    waiters = [queue.add(Position.at(MESSAGING, 1)) for _ in range(MOST_WAITING)]
    with pytest.raises(ReadModelBehind) as caught:
        queue.add(Position.at(MESSAGING, 1))
    assert caught.value.retry_after == 1
    queue.advance(CheckpointNotice("one", {MESSAGING: 1}))
    assert all(waiter.woken.done() for waiter in waiters)


async def test_a_database_that_was_restored_no_longer_covers_its_former_positions() -> None:
    queue = WaitQueue(OfTwo)
    queue.advance(CheckpointNotice("one", {MESSAGING: 9, CONTACT: 4}))
    before = queue.known
    notice = CheckpointNotice("one", {MESSAGING: 8, CONTACT: 4})
    assert notice.is_behind(before)
    queue.go_back(notice)
    assert not queue.has(Position.at(MESSAGING, 9))
    assert queue.has(Position({MESSAGING: 8, CONTACT: 4}))
    waiter = queue.add(Position.at(MESSAGING, 9))
    queue.advance(CheckpointNotice("one", {MESSAGING: 9, CONTACT: 4}))
    assert waiter.woken.done()


async def test_the_checkpoints_of_another_build_are_not_behind() -> None:
    assert not CheckpointNotice("other", {MESSAGING: 1}).is_behind(CheckpointNotice("one", {MESSAGING: 9}))
    assert not CheckpointNotice("one", {MESSAGING: 9}).is_behind(CheckpointNotice("one", {MESSAGING: 9}))
    queue = WaitQueue(OfTwo)
    queue.advance(CheckpointNotice("one", {MESSAGING: 9}))
    queue.go_back(CheckpointNotice("other", {MESSAGING: 1}))
    assert queue.has(Position.at(MESSAGING, 9))
