"""Batches requests that arrive while others are in progress.

There is no batching delay: a request goes out immediately unless `at_once` batches are in progress. Batches grow with
the load, and equal requests in a batch are sent once. A request is answered only by a batch started after it arrived.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping, Sequence
from typing import Generic, TypeVar

from contracts.errors import Overloaded, Unavailable

Q = TypeVar("Q", bound=Hashable)
A = TypeVar("A")

_TOGETHER = 64
_WAITING = 1_000
_SECONDS = 10.0


class RequestBatcher(Generic[Q, A]):
    def __init__(
        self,
        answer: Callable[[Sequence[Q]], Awaitable[Sequence[A]]],
        *,
        at_once: int = 2,
        together: int = _TOGETHER,
        most_waiting: int = _WAITING,
        seconds: float = _SECONDS,
    ) -> None:
        """`answer`: maps a batch of questions to answers in the same order; at most `at_once` run concurrently."""
        self._answer = answer
        self._at_once = at_once
        self._together = together
        self._most_waiting = most_waiting
        self._seconds = seconds
        self._waiting: deque[tuple[Q, asyncio.Future[A]]] = deque()
        self._under_way: set[asyncio.Task[None]] = set()

    async def load(self, question: Q) -> A:
        """
        Raises:
            Overloaded: too many requests are waiting.
            Unavailable: there was no answer in time.
            Errors of `answer`, for every request of the batch.
        """
        if len(self._waiting) >= self._most_waiting:
            raise Overloaded(retry_after=1)
        answered: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        self._waiting.append((question, answered))
        if len(self._under_way) < self._at_once:
            self._under_way.add(asyncio.create_task(self._work(), name="gathered questions"))
        return await answered

    async def stop(self) -> None:
        """Cancels the batches in progress and all waiting requests."""
        tasks = list(self._under_way)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        while self._waiting:
            self._waiting.popleft()[1].cancel()

    async def _work(self) -> None:
        try:
            while batch := self._next():
                await self._ask_together(batch)
        finally:
            # In the same step that found the queue empty, so that the next request starts another task.
            task = asyncio.current_task()
            if task is not None:
                self._under_way.discard(task)

    async def _ask_together(self, batch: "Mapping[Q, list[asyncio.Future[A]]]") -> None:
        try:
            async with asyncio.timeout(self._seconds):
                answers = await self._answer(list(batch))
            for futures, answer in zip(batch.values(), answers, strict=True):
                for answered in futures:
                    if not answered.done():
                        answered.set_result(answer)
        except TimeoutError as error:
            _fail(batch.values(), Unavailable("The read model cannot be read at the moment.", retry_after=1), error)
        except Exception as error:  # passed on to every caller
            _fail(batch.values(), error, error.__cause__)
        finally:
            for futures in batch.values():
                for answered in futures:
                    answered.cancel()

    def _next(self) -> "dict[Q, list[asyncio.Future[A]]]":
        """Takes the next batch, oldest first: the futures that still wait, by question."""
        batch: dict[Q, list[asyncio.Future[A]]] = {}
        while self._waiting:
            question, answered = self._waiting[0]
            if question not in batch and len(batch) >= self._together:
                break
            self._waiting.popleft()
            if not answered.done():
                batch.setdefault(question, []).append(answered)
        return batch


def _fail(waiting: "Iterable[list[asyncio.Future[A]]]", error: Exception, cause: BaseException | None) -> None:
    error.__cause__ = cause
    for futures in waiting:
        for future in futures:
            if not future.done():
                future.set_exception(error)
