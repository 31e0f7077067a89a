"""Batched requests: none waits for others, and none gets an answer from before it was made."""

import asyncio
from collections.abc import Sequence

import pytest

from contracts.errors import Overloaded, ReadModelBehind, Unavailable
from services.messaging.pages.request_batcher import RequestBatcher


class Answering:
    """Answers when released; records which requests were batched."""

    def __init__(self) -> None:
        self.asked: list[list[int]] = []
        self.go = asyncio.Semaphore(0)

    async def __call__(self, questions: Sequence[int]) -> list[int]:
        self.asked.append(list(questions))
        await self.go.acquire()
        if 13 in questions:
            raise ReadModelBehind(retry_after=1)
        return [question * 10 for question in questions]


async def reached(answering: Answering, calls: int) -> None:
    async with asyncio.timeout(60):
        while len(answering.asked) < calls:
            await asyncio.sleep(0)


async def test_what_comes_while_others_are_asked_goes_out_together_next() -> None:
    answering = Answering()
    gathering = RequestBatcher(answering, at_once=1, together=3)
    first = asyncio.create_task(gathering.load(1))
    await reached(answering, 1)
    others = [asyncio.create_task(gathering.load(number)) for number in (2, 3, 4, 5)]
    answering.go.release()
    await reached(answering, 2)
    answering.go.release()
    answering.go.release()
    assert await asyncio.gather(first, *others) == [10, 20, 30, 40, 50]
    assert answering.asked == [[1], [2, 3, 4], [5]]


async def test_the_same_question_of_several_is_asked_once_for_all_who_wait() -> None:
    answering = Answering()
    gathering = RequestBatcher(answering, at_once=1, together=2)
    first = asyncio.create_task(gathering.load(1))
    await reached(answering, 1)
    others = [asyncio.create_task(gathering.load(number)) for number in (2, 3, 2, 2, 3, 4, 2)]
    for _ in range(3):
        answering.go.release()
    assert list(await asyncio.gather(first, *others)) == [10, 20, 30, 20, 20, 30, 40, 20]
    assert answering.asked == [[1], [2, 3], [4, 2]]


async def test_a_question_is_never_answered_by_what_was_asked_before_it_came() -> None:
    answering = Answering()
    gathering = RequestBatcher(answering, at_once=1)
    first = asyncio.create_task(gathering.load(7))
    await reached(answering, 1)
    again = asyncio.create_task(gathering.load(7))
    answering.go.release()
    assert await first == 70
    assert not again.done()
    answering.go.release()
    assert await again == 70
    assert answering.asked == [[7], [7]]


async def test_an_error_reaches_everybody_who_was_asked_together_and_nobody_else() -> None:
    answering = Answering()
    gathering = RequestBatcher(answering, at_once=1, together=2)
    asked = [asyncio.create_task(gathering.load(number)) for number in (13, 2, 3)]
    for _ in range(2):
        answering.go.release()
    found = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(each) for each in found] == [ReadModelBehind, ReadModelBehind, int]
    answering.go.release()
    assert await gathering.load(4) == 40


async def test_who_has_gone_is_not_asked_for() -> None:
    answering = Answering()
    gathering = RequestBatcher(answering, at_once=1)
    first = asyncio.create_task(gathering.load(1))
    await reached(answering, 1)
    gone, stays = asyncio.create_task(gathering.load(2)), asyncio.create_task(gathering.load(3))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    for _ in range(2):
        answering.go.release()
    found = await asyncio.gather(first, stays)
    assert list(found) == [10, 30]
    assert answering.asked == [[1], [3]]


async def test_what_takes_too_long_is_given_up_and_the_next_is_asked() -> None:
    answering = Answering()
    gathering = RequestBatcher(answering, at_once=1, seconds=0.01)
    with pytest.raises(Unavailable):
        await gathering.load(1)
    answering.go.release()
    async with asyncio.timeout(60):
        while True:
            try:
                assert await gathering.load(2) == 20
            except Unavailable:
                answering.go.release()
            else:
                break


async def test_only_so_many_wait() -> None:
    answering = Answering()
    gathering = RequestBatcher(answering, at_once=1, most_waiting=2)
    first = asyncio.create_task(gathering.load(1))
    await reached(answering, 1)
    waiting = [asyncio.create_task(gathering.load(number)) for number in (2, 3)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await gathering.load(4)
    for _ in range(2):
        answering.go.release()
    assert await asyncio.gather(first, *waiting) == [10, 20, 30]


async def test_a_stop_lets_nobody_wait() -> None:
    answering = Answering()
    gathering = RequestBatcher(answering, at_once=1)
    asked = [asyncio.create_task(gathering.load(1))]
    await reached(answering, 1)
    asked.append(asyncio.create_task(gathering.load(2)))
    await asyncio.sleep(0)
    await gathering.stop()
    found = await asyncio.wait_for(asyncio.gather(*asked, return_exceptions=True), 60)
    assert [type(each) for each in found] == [asyncio.CancelledError, asyncio.CancelledError]
