"""Flat combining: what waits for the same aggregate is worked on together, in the order in which it came.

An append takes some milliseconds, and nobody else may decide on its aggregate meanwhile. Whoever finds nobody at work
works for himself, at once; those who come in the meantime are taken together when he is done, so that their events can
be stored as one append instead of one after the other.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Generic, TypeVar, cast

from contracts.deadlines import EVENT_STORE
from contracts.errors import DeadlineExceeded, Overloaded

# What is taken together, at most.
_MOST = 64

C = TypeVar("C")
R = TypeVar("R")


class PendingCommand(Generic[C, R]):
    """A command that somebody waits for."""

    __slots__ = ("_error", "_result", "_trace", "_waiter", "command", "is_over")

    def __init__(self, command: C) -> None:
        self.command = command
        # Whether it was answered, or nobody waits for it any more.
        self.is_over = False
        self._result: R | None = None
        self._error: Exception | None = None
        self._trace: TracebackType | None = None
        self._waiter: asyncio.Future[None] | None = None

    def answer(self, result: R) -> None:
        self._result = result
        self._end()

    def fail(self, error: Exception) -> None:
        self._error, self._trace = error, error.__traceback__
        self._end()

    async def wait(self) -> R:
        if not self.is_over:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self.is_over = True
        return self.result()

    def result(self) -> R:
        """What it was answered.

        Raises:
            what it failed with.
        """
        if self._error is not None:
            # Several may have failed with the same one, to which each raise adds where it was raised.
            raise self._error.with_traceback(self._trace)
        return cast(R, self._result)

    def _end(self) -> None:
        self.is_over = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class FlatCombiner(Generic[C, R]):
    """Lines of commands, one for each key, which exist only while somebody is at work there."""

    def __init__(
        self, work: Callable[[str, Sequence[PendingCommand[C, R]]], Awaitable[None]], *, patience: float = EVENT_STORE
    ) -> None:
        """
        `work`: answers all of the commands on a key, or fails: then those that were not answered have failed so.
        `patience`: seconds for which a command waits until it is taken.
        """
        self._work = work
        self._patience = patience
        self._lines: dict[str, list[PendingCommand[C, R]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def submit(self, key: str, command: C) -> R:
        """
        Raises:
            Overloaded: it was not taken in time, and nothing has come of it.
            what the work failed with.
        """
        turn: PendingCommand[C, R] = PendingCommand(command)
        line = self._lines.get(key)
        if line is not None:
            return await self._wait(line, turn)
        self._lines[key] = []
        try:
            await self._work(key, (turn,))
        finally:
            self._start_next(key)
        return turn.result()

    def __len__(self) -> int:
        return len(self._lines)

    async def _wait(self, line: list[PendingCommand[C, R]], turn: PendingCommand[C, R]) -> R:
        line.append(turn)
        timer = asyncio.get_running_loop().call_later(self._patience, _give_up, line, turn)
        try:
            return await turn.wait()
        finally:
            timer.cancel()

    def _start_next(self, key: str) -> None:
        """Whoever was at work is done, or has given up: those who have come meanwhile are next."""
        line = self._lines[key]
        turns = [turn for turn in line if not turn.is_over]
        if not turns:
            del self._lines[key]
            return
        # The list stays the same: it is how those who wait know whether they were taken.
        line[:] = turns[_MOST:]
        task = asyncio.create_task(self._run_batch(key, turns[:_MOST]))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run_batch(self, key: str, turns: Sequence[PendingCommand[C, R]]) -> None:
        try:
            await self._work(key, turns)
        except Exception as error:  # handed over: raised where each of them is waited for
            _fail(turns, error)
        except asyncio.CancelledError:
            # At the end of the loop nobody waits any more; should the work end so by itself, they would for ever.
            _fail(turns, DeadlineExceeded())
            raise
        finally:
            self._start_next(key)


def _fail(turns: Sequence[PendingCommand[C, R]], error: Exception) -> None:
    for turn in turns:
        if not turn.is_over:
            turn.fail(error)


def _give_up(line: list[PendingCommand[C, R]], turn: PendingCommand[C, R]) -> None:
    # Once it was taken, something may come of it, and whoever works on it has patience of his own.
    if turn in line:
        turn.fail(Overloaded())
