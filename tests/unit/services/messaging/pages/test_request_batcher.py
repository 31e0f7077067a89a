"""Batched requests: none waits without need, and none gets an answer from before it was made."""

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


async def until_called(answering: Answering, calls: int) -> None:
    async with asyncio.timeout(60):
        while len(answering.asked) < calls:
            await asyncio.sleep(0)


async def test_requests_that_arrive_during_a_batch_form_the_next_one() -> None:
    answering = Answering()
    batcher = RequestBatcher(answering, at_once=1, together=3)
    first = asyncio.create_task(batcher.load(1))
    await until_called(answering, 1)
    others = [asyncio.create_task(batcher.load(number)) for number in (2, 3, 4, 5)]
    answering.go.release()
    await until_called(answering, 2)
    answering.go.release()
    answering.go.release()
    assert await asyncio.gather(first, *others) == [10, 20, 30, 40, 50]
    assert answering.asked == [[1], [2, 3, 4], [5]]


async def test_the_same_request_of_several_callers_is_made_once_for_all_who_wait() -> None:
    answering = Answering()
    batcher = RequestBatcher(answering, at_once=1, together=2)
    first = asyncio.create_task(batcher.load(1))
    await until_called(answering, 1)
    others = [asyncio.create_task(batcher.load(number)) for number in (2, 3, 2, 2, 3, 4, 2)]
    for _ in range(3):
        answering.go.release()
    assert list(await asyncio.gather(first, *others)) == [10, 20, 30, 20, 20, 30, 40, 20]
    assert answering.asked == [[1], [2, 3], [4, 2]]


async def test_a_request_is_never_answered_by_a_batch_from_before_it() -> None:
    answering = Answering()
    batcher = RequestBatcher(answering, at_once=1)
    first = asyncio.create_task(batcher.load(7))
    await until_called(answering, 1)
    again = asyncio.create_task(batcher.load(7))
    answering.go.release()
    assert await first == 70
    assert not again.done()
    answering.go.release()
    assert await again == 70
    assert answering.asked == [[7], [7]]


async def test_an_error_reaches_all_requests_of_its_batch_and_no_others() -> None:
    answering = Answering()
    batcher = RequestBatcher(answering, at_once=1, together=2)
    requests = [asyncio.create_task(batcher.load(number)) for number in (13, 2, 3)]
    for _ in range(2):
        answering.go.release()
    answers = await asyncio.gather(*requests, return_exceptions=True)
    assert [type(answer) for answer in answers] == [ReadModelBehind, ReadModelBehind, int]
    answering.go.release()
    assert await batcher.load(4) == 40


async def test_a_cancelled_request_is_left_out() -> None:
    answering = Answering()
    batcher = RequestBatcher(answering, at_once=1)
    first = asyncio.create_task(batcher.load(1))
    await until_called(answering, 1)
    gone, stays = asyncio.create_task(batcher.load(2)), asyncio.create_task(batcher.load(3))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    for _ in range(2):
        answering.go.release()
    answers = await asyncio.gather(first, stays)
    assert list(answers) == [10, 30]
    assert answering.asked == [[1], [3]]


async def test_a_batch_that_takes_too_long_is_abandoned_and_the_next_is_made() -> None:
    answering = Answering()
    batcher = RequestBatcher(answering, at_once=1, seconds=0.01)
    with pytest.raises(Unavailable):
        await batcher.load(1)
    answering.go.release()
    async with asyncio.timeout(60):
        while True:
            try:
                assert await batcher.load(2) == 20
            except Unavailable:
                answering.go.release()
            else:
                break


async def test_the_number_of_waiting_requests_is_bounded() -> None:
    answering = Answering()
    batcher = RequestBatcher(answering, at_once=1, most_waiting=2)
    first = asyncio.create_task(batcher.load(1))
    await until_called(answering, 1)
    waiting = [asyncio.create_task(batcher.load(number)) for number in (2, 3)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await batcher.load(4)
    for _ in range(2):
        answering.go.release()
    assert await asyncio.gather(first, *waiting) == [10, 20, 30]


async def test_a_stop_cancels_all_waiting_requests() -> None:
    answering = Answering()
    batcher = RequestBatcher(answering, at_once=1)
    requests = [asyncio.create_task(batcher.load(1))]
    await until_called(answering, 1)
    requests.append(asyncio.create_task(batcher.load(2)))
    await asyncio.sleep(0)
    await batcher.stop()
    answers = await asyncio.wait_for(asyncio.gather(*requests, return_exceptions=True), 60)
    assert [type(answer) for answer in answers] == [asyncio.CancelledError, asyncio.CancelledError]
