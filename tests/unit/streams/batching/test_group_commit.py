"""Which appends are single, which are batched, and that each gets an outcome whatever happens to a batch."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

import pytest

from streams.batching.batch_threshold import FEW, FIRST
from streams.batching.group_commit import Attempt, GroupCommit

_TOGETHER_FROM = 10


class Store:
    """Stores batches when released; `answer` is the outcome of one."""

    def __init__(self, answer: Callable[[list[Sequence[str]]], list[Attempt]] | None = None) -> None:
        self.batches: list[list[str]] = []
        self.open = asyncio.Event()
        self._answer = answer or (lambda batch: [Attempt(int(append[0].partition("/")[2])) for append in batch])

    async def together(self, batch: list[Sequence[str]]) -> list[Attempt]:
        self.batches.append([event for append in batch for event in append])
        await self.open.wait()
        return self._answer(batch)


def subject(append: str) -> str:
    return append.partition("/")[0]


def group(store: Store) -> GroupCommit[str]:
    """A group commit to which a batch costs as much as ten single appends."""
    commit = GroupCommit(store.together, subject)
    commit._threshold.minimum = commit._threshold.singles = _TOGETHER_FROM
    return commit


async def send_singles(commit: GroupCommit[str], count: int) -> None:
    """The given number of single appends in flight."""
    for number in range(count):
        assert await commit.acquire([f"alone-{number}/0"]) == Attempt()


async def until(condition: Callable[[], bool]) -> None:
    """Runs the event loop until the condition holds."""
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0)


def begin(commit: GroupCommit[str], appends: Sequence[str | list[str]]) -> list[asyncio.Task[Attempt]]:
    """Appends of one event each, or of several."""

    async def enter(append: str | list[str]) -> Attempt:
        return await commit.acquire([append] if isinstance(append, str) else append)

    return [asyncio.create_task(enter(append)) for append in appends]


async def outcome(*waiting: Awaitable[Attempt]) -> list[Attempt]:
    async with asyncio.timeout(60):
        return await asyncio.gather(*waiting)


async def test_a_few_concurrent_appends_are_sent_immediately() -> None:
    store = Store()
    await send_singles(group(store), _TOGETHER_FROM)
    assert store.batches == []


async def test_waiting_appends_are_sent_as_one_batch_and_each_learns_its_sequence() -> None:
    store = Store()
    store.open.set()
    commit = group(store)
    await send_singles(commit, _TOGETHER_FROM)
    names = [f"{number}/{number}" for number in range(20)]
    assert await outcome(*begin(commit, names)) == [Attempt(number) for number in range(20)]
    assert store.batches == [names]


async def test_where_batches_are_cheap_a_few_appends_are_sent_alone_and_the_others_are_batched() -> None:
    store = Store()
    store.open.set()
    commit = GroupCommit(store.together, subject)
    commit._threshold.minimum, commit._threshold.singles = 3, 2
    await send_singles(commit, 2)
    (third, fourth) = begin(commit, ["a/1", "b/2"])
    await until(lambda: len(commit._waiting) == 2)
    commit.release()
    assert await outcome(third) == [Attempt()]
    assert store.batches == []
    # With enough others it does not wait for one of those alone.
    others = begin(commit, ["c/3", "d/4"])
    assert await outcome(fourth, *others) == [Attempt(2), Attempt(3), Attempt(4)]
    assert store.batches == [["b/2", "c/3", "d/4"]]


async def test_a_batch_is_tried_before_its_cost_is_known() -> None:
    store = Store()
    store.open.set()
    commit = GroupCommit(store.together, subject)
    await send_singles(commit, FEW)
    names = [f"{number}/{number}" for number in range(FIRST)]
    assert await outcome(*begin(commit, names)) == [Attempt(number) for number in range(FIRST)]
    assert store.batches == [names]


async def test_fewer_appends_than_a_batch_is_worth_wait_for_room_and_are_sent_alone() -> None:
    store = Store()
    commit = group(store)
    await send_singles(commit, _TOGETHER_FROM)
    waiting = begin(commit, ["a/1", "b/2"])
    await until(lambda: len(commit._waiting) == 2)
    commit.release()
    commit.release()
    assert await outcome(*waiting) == [Attempt(), Attempt()]
    assert store.batches == []


async def test_a_batch_holds_one_condition_on_each_subject() -> None:
    store = Store()
    store.open.set()
    commit = group(store)
    await send_singles(commit, _TOGETHER_FROM)
    names = [f"{number}/{number}" for number in range(_TOGETHER_FROM)]
    waiting = begin(commit, [*names, "0/99"])
    await until(lambda: all(task.done() for task in waiting[:-1]))
    assert store.batches == [names]
    # The second on its subject has its turn as soon as there is room.
    commit.release()
    assert await outcome(waiting[-1]) == [Attempt()]


async def test_events_of_one_append_stay_together_in_a_batch_and_it_learns_the_first_ones_sequence() -> None:
    store = Store()
    store.open.set()
    commit = group(store)
    await send_singles(commit, _TOGETHER_FROM)
    several = ["a/7", "a/8", "a/9"]
    names = [f"{number}/{number}" for number in range(_TOGETHER_FROM - len(several))]
    attempts = await outcome(*begin(commit, [*names, several]))
    assert attempts == [*map(Attempt, range(len(names))), Attempt(7)]
    assert store.batches == [[*names, *several]]


async def test_the_size_of_a_batch_is_counted_in_events() -> None:
    store = Store()
    store.open.set()
    commit = group(store)
    await send_singles(commit, _TOGETHER_FROM)
    appends = [[f"{number}/{number}"] * 50 for number in range(7)]
    assert await outcome(*begin(commit, appends)) == [*map(Attempt, range(7))]
    assert [len(batch) for batch in store.batches] == [150, 150, 50]


async def test_one_batch_is_under_way_at_a_time_and_appends_that_arrive_meanwhile_form_the_next() -> None:
    store = Store()
    commit = group(store)
    await send_singles(commit, _TOGETHER_FROM)
    first = begin(commit, [f"first-{number}/{number}" for number in range(12)])
    await until(lambda: len(store.batches) == 1)
    second = begin(commit, [f"second-{number}/{number}" for number in range(15)])
    await until(lambda: len(commit._waiting) == 15)
    assert len(store.batches) == 1
    store.open.set()
    assert await outcome(*first, *second) == [*map(Attempt, range(12)), *map(Attempt, range(15))]
    assert [len(batch) for batch in store.batches] == [12, 15]


async def test_a_batch_never_grows_beyond_its_bound() -> None:
    store = Store()
    store.open.set()
    commit = group(store)
    await send_singles(commit, _TOGETHER_FROM)
    count = 300
    assert await outcome(*begin(commit, [f"{number}/{number}" for number in range(count)])) == [
        Attempt(number) for number in range(count)
    ]
    assert max(map(len, store.batches)) == 128


async def test_after_a_batch_that_was_not_stored_each_append_is_sent_alone() -> None:
    store = Store(lambda batch: [Attempt(uncertain=True)] * len(batch))
    store.open.set()
    commit = group(store)
    await send_singles(commit, _TOGETHER_FROM)
    attempts = await outcome(*begin(commit, [f"{number}/0" for number in range(12)]))
    assert attempts == [Attempt(uncertain=True)] * 12
    # All of them count as under way until they leave: no other append goes alone before.
    late = begin(commit, ["late/0"])
    for _ in range(12):
        await until(lambda: len(commit._waiting) == 1)
        commit.release()
    await until(lambda: len(commit._waiting) == 1)
    commit.release()
    assert await outcome(*late) == [Attempt()]


async def test_a_batch_that_is_cancelled_leaves_all_its_appends_uncertain() -> None:
    async def together(batch: list[Sequence[str]]) -> list[Attempt]:
        raise asyncio.CancelledError

    commit: GroupCommit[str] = GroupCommit(together, subject)
    await send_singles(commit, FEW)
    attempts = await outcome(*begin(commit, [f"{number}/0" for number in range(_TOGETHER_FROM)]))
    assert attempts == [Attempt(uncertain=True)] * _TOGETHER_FROM


async def test_a_cancelled_waiting_append_is_not_sent_and_holds_no_place() -> None:
    store = Store()
    commit = group(store)
    await send_singles(commit, _TOGETHER_FROM)
    (gone,) = begin(commit, ["gone/0"])
    await until(lambda: len(commit._waiting) == 1)
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    waiting = begin(commit, [f"{number}/{number}" for number in range(_TOGETHER_FROM)])
    store.open.set()
    assert await outcome(*waiting) == [Attempt(number) for number in range(_TOGETHER_FROM)]
    assert store.batches == [[f"{number}/{number}" for number in range(_TOGETHER_FROM)]]


async def test_a_cancelled_append_gives_its_place_back() -> None:
    store = Store(lambda batch: [Attempt()] * len(batch))
    commit = group(store)
    await send_singles(commit, _TOGETHER_FROM)
    waiting = begin(commit, [f"{number}/0" for number in range(_TOGETHER_FROM)])
    await until(lambda: len(store.batches) == 1)
    store.open.set()
    await until(lambda: commit._batch is None)
    waiting[0].cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    under_way = 2 * _TOGETHER_FROM - (1 if waiting[0].cancelled() else 0)
    for _ in range(under_way):
        commit.release()
    await send_singles(commit, _TOGETHER_FROM)


async def test_an_append_whose_turn_does_not_come_in_time_was_not_sent() -> None:
    store = Store()
    commit = group(store)
    await send_singles(commit, _TOGETHER_FROM)
    waiting = asyncio.create_task(commit.acquire(["late/0"], time.monotonic()))
    with pytest.raises(TimeoutError):
        await outcome(waiting)
    assert store.batches == []
    # It has no place to give back: when another has ended, the next one goes alone.
    (after,) = begin(commit, ["after/0"])
    commit.release()
    assert await outcome(after) == [Attempt()]


async def test_an_append_whose_batch_does_not_end_in_time_may_be_stored() -> None:
    store = Store()
    commit = group(store)
    await send_singles(commit, _TOGETHER_FROM)
    late = asyncio.create_task(commit.acquire(["late/1"], time.monotonic()))
    others = begin(commit, [f"{number}/{number}" for number in range(_TOGETHER_FROM)])
    await until(lambda: bool(store.batches))
    assert await outcome(late) == [Attempt(uncertain=True)]
    store.open.set()
    assert await outcome(*others) == [Attempt(number) for number in range(_TOGETHER_FROM)]
