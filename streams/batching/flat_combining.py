"""Flat combining: commands that wait for the same aggregate are processed together, in order of arrival.

An append takes some milliseconds, and no other command may decide on its aggregate meanwhile. A command that finds its
aggregate idle runs immediately. Commands that arrive meanwhile are processed together afterwards, so that their events
can be stored in one append instead of one after the other.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Generic, TypeVar, cast

from contracts.deadlines import EVENT_STORE
from contracts.errors import DeadlineExceeded, Overloaded

# Maximum of commands that are processed together.
_MOST = 64

C = TypeVar("C")
R = TypeVar("R")


class PendingCommand(Generic[C, R]):
    """A command whose caller waits for its result."""

    __slots__ = ("_error", "_result", "_trace", "_waiter", "command", "is_over")

    def __init__(self, command: C) -> None:
        self.command = command
        # Whether it has a result or an error, or its caller no longer waits.
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
        """The command's result.

        Raises:
            the error that it failed with.
        """
        if self._error is not None:
            # Several commands may share the error, and each raise would extend its traceback.
            raise self._error.with_traceback(self._trace)
        return cast(R, self._result)

    def _end(self) -> None:
        self.is_over = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class FlatCombiner(Generic[C, R]):
    """Queues of commands by key; a queue exists only while commands on its key are processed."""

    def __init__(
        self, work: Callable[[str, Sequence[PendingCommand[C, R]]], Awaitable[None]], *, patience: float = EVENT_STORE
    ) -> None:
        """
        `work`: answers all of the given commands on a key; if it fails, the unanswered ones fail with its error.
        `patience`: seconds for which a command waits until it is taken.
        """
        self._work = work
        self._patience = patience
        self._lines: dict[str, list[PendingCommand[C, R]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def submit(self, key: str, command: C) -> R:
        """Processes the command, possibly together with others, and returns its result.

        Raises:
            Overloaded: it was not taken in time, and has had no effect.
            the error that `work` failed with.
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
        """Takes the commands that arrived while the previous ones were processed."""
        line = self._lines[key]
        turns = [turn for turn in line if not turn.is_over]
        if not turns:
            del self._lines[key]
            return
        # The list object stays the same: a waiting command is in it until it is taken.
        line[:] = turns[_MOST:]
        task = asyncio.create_task(self._run_batch(key, turns[:_MOST]))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run_batch(self, key: str, turns: Sequence[PendingCommand[C, R]]) -> None:
        try:
            await self._work(key, turns)
        except Exception as error:  # raised in each waiting caller
            _fail(turns, error)
        except asyncio.CancelledError:
            # When the loop ends, no caller waits any more. If only the work is cancelled, callers would wait forever.
            _fail(turns, DeadlineExceeded())
            raise
        finally:
            self._start_next(key)


def _fail(turns: Sequence[PendingCommand[C, R]], error: Exception) -> None:
    for turn in turns:
        if not turn.is_over:
            turn.fail(error)


def _give_up(line: list[PendingCommand[C, R]], turn: PendingCommand[C, R]) -> None:
    # A command that was taken may take effect, and the work has its own time limit.
    if turn in line:
        turn.fail(Overloaded())
