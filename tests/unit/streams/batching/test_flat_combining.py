"""No command waits without need, none is lost, and waiting ones are processed together."""

import asyncio
import traceback
from collections.abc import Sequence

import pytest

from contracts.errors import DeadlineExceeded, NotFriends, Overloaded
from streams.batching import flat_combining
from streams.batching.flat_combining import FlatCombiner, PendingCommand

PATIENCE = 10


class Worker:
    """Returns each command; processes a group when released."""

    def __init__(self) -> None:
        self.groups: list[tuple[str, list[int]]] = []
        self.may_go_on = asyncio.Event()
        self.error: BaseException | None = None
        self.combining = FlatCombiner(self.work, patience=PATIENCE)

    async def work(self, key: str, turns: Sequence[PendingCommand[int, int]]) -> None:
        self.groups.append((key, [turn.command for turn in turns]))
        gate = self.may_go_on
        await gate.wait()
        for turn in turns:
            if turn.command == 13:
                turn.fail(NotFriends())
            elif self.error is None:
                turn.answer(turn.command)
        if self.error is not None:
            raise self.error

    async def finish_first(self, first: asyncio.Task[int]) -> None:
        """Completes the first group; returns when the next one is being processed."""
        gate, self.may_go_on = self.may_go_on, asyncio.Event()
        gate.set()
        await first
        async with asyncio.timeout(PATIENCE):
            while len(self.groups) < 2:
                await asyncio.sleep(0)

    async def begin(self, *commands: int, key: str = "a") -> list[asyncio.Task[int]]:
        """Submits the commands; returns when all are queued."""
        tasks = []
        for command in commands:
            tasks.append(asyncio.create_task(self.combining.submit(key, command)))
            await asyncio.sleep(0)
        return tasks


@pytest.fixture
async def worker() -> Worker:
    return Worker()


async def test_a_command_of_an_idle_key_is_processed_immediately_and_leaves_nothing_behind(worker: Worker) -> None:
    worker.may_go_on.set()
    assert await worker.combining.submit("a", 1) == 1
    assert worker.groups == [("a", [1])]
    assert len(worker.combining) == 0


async def test_commands_that_arrive_during_a_group_are_processed_together_and_in_order(worker: Worker) -> None:
    tasks = await worker.begin(1, 2, 3, 4)
    worker.may_go_on.set()
    assert await asyncio.gather(*tasks) == [1, 2, 3, 4]
    assert worker.groups == [("a", [1]), ("a", [2, 3, 4])]
    assert len(worker.combining) == 0


async def test_keys_are_independent(worker: Worker) -> None:
    tasks = [*await worker.begin(1, key="a"), *await worker.begin(2, key="b")]
    assert worker.groups == [("a", [1]), ("b", [2])]
    worker.may_go_on.set()
    assert await asyncio.gather(*tasks) == [1, 2]


async def test_many_waiting_commands_are_processed_in_several_groups(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flat_combining, "_MOST", 3)
    tasks = await worker.begin(*range(9))
    worker.may_go_on.set()
    assert await asyncio.gather(*tasks) == [*range(9)]
    assert worker.groups == [("a", [0]), ("a", [1, 2, 3]), ("a", [4, 5, 6]), ("a", [7, 8])]


async def test_a_refusal_is_that_of_one_command(worker: Worker) -> None:
    tasks = await worker.begin(13, 1, 13, 2)
    worker.may_go_on.set()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(answer) for answer in answers] == [NotFriends, int, NotFriends, int]


async def test_a_failed_group_fails_for_all_without_an_answer_and_the_queue_goes_on(worker: Worker) -> None:
    first = await worker.begin(1)
    worker.error = RuntimeError("broken")
    waiting = await worker.begin(2, 13)
    worker.may_go_on.set()
    answers = await asyncio.gather(*first, *waiting, return_exceptions=True)
    assert [type(answer) for answer in answers] == [RuntimeError, RuntimeError, NotFriends]
    worker.error = None
    assert await worker.combining.submit("a", 3) == 3
    assert len(worker.combining) == 0


async def test_each_callers_traceback_shows_its_own_place(worker: Worker) -> None:
    first = await worker.begin(1)
    worker.error = RuntimeError("broken")
    waiting = await worker.begin(*range(2, 12))
    traces: list[int] = []

    async def notify(task: asyncio.Task[int]) -> None:
        try:
            await task
        except RuntimeError as error:
            traces.append(len(traceback.extract_tb(error.__traceback__)))

    notifications = [asyncio.create_task(notify(task)) for task in waiting]
    worker.may_go_on.set()
    await asyncio.gather(*first, return_exceptions=True)
    await asyncio.gather(*notifications)
    assert len(traces) == 10
    assert len(set(traces)) == 1


async def test_no_caller_waits_for_a_group_that_was_cancelled_and_the_queue_goes_on(worker: Worker) -> None:
    (first,) = await worker.begin(1)
    waiting = await worker.begin(2, 3)
    await worker.finish_first(first)
    worker.error = asyncio.CancelledError()
    worker.may_go_on.set()
    async with asyncio.timeout(60):
        answers = await asyncio.gather(*waiting, return_exceptions=True)
    # What has become of it is not known.
    assert [type(answer) for answer in answers] == [DeadlineExceeded, DeadlineExceeded]
    worker.error = None
    assert await worker.combining.submit("a", 4) == 4
    assert len(worker.combining) == 0


async def test_callers_behind_a_cancelled_one_go_on(worker: Worker) -> None:
    first, *others = await worker.begin(1, 2, 3)
    first.cancel()
    worker.may_go_on.set()
    assert await asyncio.gather(*others) == [2, 3]
    assert first.cancelled()
    assert worker.groups == [("a", [1]), ("a", [2, 3])]


async def test_a_caller_that_gives_up_in_the_queue_is_left_out(worker: Worker) -> None:
    first, gone, last = await worker.begin(1, 2, 3)
    gone.cancel()
    await asyncio.wait([gone])
    worker.may_go_on.set()
    assert [await first, await last] == [1, 3]
    assert worker.groups == [("a", [1]), ("a", [3])]


async def test_a_group_goes_on_when_one_of_several_callers_gives_up(worker: Worker) -> None:
    first, *others = await worker.begin(1, 2, 3)
    await worker.finish_first(first)
    others[0].cancel()
    await asyncio.wait([others[0]])
    worker.may_go_on.set()
    assert await others[1] == 3
    assert others[0].cancelled()


async def test_a_caller_that_is_not_served_in_time_gets_an_error(worker: Worker) -> None:
    impatient = FlatCombiner(worker.work, patience=0.0)
    first = asyncio.create_task(impatient.submit("a", 1))
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await impatient.submit("a", 2)
    worker.may_go_on.set()
    assert await first == 1
    assert worker.groups == [("a", [1])]


async def test_a_command_in_process_is_waited_for_since_it_may_have_taken_effect(worker: Worker) -> None:
    tasks = await worker.begin(1, 2)
    line = worker.combining._lines["a"]
    turn = line[0]
    await worker.finish_first(tasks[0])
    flat_combining._give_up(line, turn)
    assert not turn.is_over
    worker.may_go_on.set()
    assert await tasks[1] == 2
