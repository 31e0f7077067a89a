"""Flat combining: what waits for the same aggregate is worked on together, in the order in which it came.

An append takes some milliseconds, and nobody else may decide on its aggregate meanwhile. Whoever finds nobody at work
works for himself, at once; those who come in the meantime are taken together when he is done, so that their events can
be stored as one append instead of one after the other.
"""

import asyncio
from collections.abc import Awaitable, Callable, Generator, Sequence
from typing import Generic, TypeVar

from contracts.errors import Overloaded

# What is taken together, at most.
_MOST = 64

C = TypeVar("C")
R = TypeVar("R")


class Turn(Generic[C, R]):
    """A command that somebody waits for."""

    __slots__ = ("_result", "command")

    def __init__(self, command: C) -> None:
        self.command = command
        self._result: asyncio.Future[R] = asyncio.get_running_loop().create_future()

    @property
    def is_over(self) -> bool:
        """Whether it was answered, or nobody waits for it any more."""
        return self._result.done()

    def answer(self, result: R) -> None:
        if not self._result.done():
            self._result.set_result(result)

    def fail(self, error: Exception) -> None:
        if not self._result.done():
            self._result.set_exception(error)

    def __await__(self) -> Generator[object, None, R]:
        return self._result.__await__()


class Combining(Generic[C, R]):
    """Lines of commands, one for each key, which exist only while somebody is at work there."""

    def __init__(self, work: Callable[[str, Sequence[Turn[C, R]]], Awaitable[None]], *, patience: float = 15.0) -> None:
        """
        `work`: answers all of the commands on a key, or fails: then those that were not answered have failed so.
        `patience`: seconds for which a command waits until it is taken.
        """
        self._work = work
        self._patience = patience
        self._lines: dict[str, list[Turn[C, R]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def do(self, key: str, command: C) -> R:
        """
        Raises:
            Overloaded: it was not taken in time, and nothing has come of it.
            what the work failed with.
        """
        turn: Turn[C, R] = Turn(command)
        line = self._lines.get(key)
        if line is not None:
            return await self._wait(line, turn)
        self._lines[key] = []
        try:
            await self._work(key, (turn,))
        finally:
            self._go_on(key)
        return await turn

    def __len__(self) -> int:
        return len(self._lines)

    async def _wait(self, line: list[Turn[C, R]], turn: Turn[C, R]) -> R:
        line.append(turn)
        timer = asyncio.get_running_loop().call_later(self._patience, _give_up, line, turn)
        try:
            return await turn
        finally:
            timer.cancel()

    def _go_on(self, key: str) -> None:
        """Whoever was at work is done, or has given up: those who have come meanwhile are next."""
        line = self._lines[key]
        turns = [turn for turn in line if not turn.is_over]
        if not turns:
            del self._lines[key]
            return
        # The list stays the same: it is how those who wait know whether they were taken.
        line[:] = turns[_MOST:]
        task = asyncio.create_task(self._together(key, turns[:_MOST]))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _together(self, key: str, turns: Sequence[Turn[C, R]]) -> None:
        try:
            await self._work(key, turns)
        except Exception as error:  # handed over: raised where each of them is waited for
            for turn in turns:
                turn.fail(error)
        finally:
            self._go_on(key)


def _give_up(line: list[Turn[C, R]], turn: Turn[C, R]) -> None:
    # Once it was taken something may come of it, and whoever works on it has patience of his own.
    if turn in line:
        turn.fail(Overloaded())
