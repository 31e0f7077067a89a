"""In the last days of a month the keys that are in use are created for the next one, and at a friendship those of both
friends, each once, and a few at a time."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest

from contracts.envelope import now
from contracts.errors import Invalid, UserNotFound
from contracts.personal_data.key_ids import MONTH_AHEAD, person_key, text_key
from contracts.values.ids import new_id
from streams.personal_data.keys import ahead as module
from streams.personal_data.keys.ahead import KeysAhead

NEXT_MONTH = datetime(2027, 1, 1, tzinfo=UTC)
LAST_DAYS = NEXT_MONTH - MONTH_AHEAD
MOMENT = timedelta(milliseconds=1)
USER, CONVERSATION = new_id(), new_id()


def key(at: datetime, conversation: str = CONVERSATION) -> str:
    return text_key(conversation, USER, at)


class Created:
    """Auth's creation of keys, replaced by a list in memory."""

    def __init__(self, *failures: Exception) -> None:
        self.calls: list[list[str]] = []
        self._failures = list(failures)
        self.erased: set[str] = set()

    async def create(self, key_ids: Collection[str]) -> None:
        self.calls.append(list(key_ids))
        if self._failures:
            raise self._failures.pop()
        if self.erased.intersection(key_ids):
            raise UserNotFound


@asynccontextmanager
async def running(ahead: KeysAhead) -> AsyncIterator[None]:
    task = asyncio.create_task(ahead.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.001)


async def test_only_keys_of_the_present_month_in_its_last_days_are_created_for_the_next_each_once() -> None:
    auth = Created()
    ahead = KeysAhead(auth.create, pause=0)
    ahead.used([key(LAST_DAYS - MOMENT)], LAST_DAYS - MOMENT)
    for at in (LAST_DAYS, LAST_DAYS, NEXT_MONTH - MOMENT):
        ahead.used([person_key(USER), key(NEXT_MONTH - timedelta(days=40), new_id()), key(at)], at)
    async with running(ahead):
        await until(lambda: bool(auth.calls))
        # What comes after it shows that there is nothing more in between.
        other = new_id()
        ahead.used([key(NEXT_MONTH - MOMENT), key(NEXT_MONTH - MOMENT, other)], NEXT_MONTH - MOMENT)
        await until(lambda: len(auth.calls) == 2)
    assert auth.calls == [[key(NEXT_MONTH)], [key(NEXT_MONTH, other)]]


async def test_after_its_turn_the_next_month_has_last_days_too() -> None:
    auth = Created()
    ahead = KeysAhead(auth.create, pause=0)
    february = datetime(2027, 2, 1, tzinfo=UTC)
    async with running(ahead):
        for at in (LAST_DAYS, NEXT_MONTH, february - MONTH_AHEAD - MOMENT, february - MONTH_AHEAD):
            ahead.used([key(at)], at)
        await until(lambda: bool(auth.calls))
    assert auth.calls == [[key(NEXT_MONTH), key(february)]]


async def test_many_keys_are_created_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BATCH", 3)
    auth = Created()
    ahead = KeysAhead(auth.create, pause=0)
    conversations = [new_id() for _ in range(7)]
    ahead.used([key(LAST_DAYS, conversation) for conversation in conversations], LAST_DAYS)
    async with running(ahead):
        await until(lambda: sum(map(len, auth.calls)) == len(conversations))
    assert [len(call) for call in auth.calls] == [3, 3, 1]
    assert [key_id for call in auth.calls for key_id in call] == [
        key(NEXT_MONTH, conversation) for conversation in conversations
    ]


async def test_a_failed_creation_is_tried_again_when_the_author_writes_again() -> None:
    # As an auth of the release before, to which the month is yet to come.
    auth = Created(Invalid())
    ahead = KeysAhead(auth.create, pause=0)
    async with running(ahead):
        ahead.used([key(LAST_DAYS)], LAST_DAYS)
        await until(lambda: len(auth.calls) == 1)
        ahead.used([key(LAST_DAYS)], LAST_DAYS)
        await until(lambda: len(auth.calls) == 2)
    assert auth.calls == [[key(NEXT_MONTH)], [key(NEXT_MONTH)]]


async def test_the_memory_of_requested_keys_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST", 2)
    auth = Created()
    ahead = KeysAhead(auth.create, pause=0)
    conversations = [new_id() for _ in range(3)]
    ahead.used([key(LAST_DAYS, conversation) for conversation in conversations], LAST_DAYS)
    async with running(ahead):
        await until(lambda: len(auth.calls) == 1)
        # There is room again.
        ahead.used([key(LAST_DAYS, conversations[2])], LAST_DAYS)
        await until(lambda: len(auth.calls) == 2)
    assert auth.calls == [
        [key(NEXT_MONTH, conversation) for conversation in conversations[:2]],
        [key(NEXT_MONTH, conversations[2])],
    ]


async def test_for_two_new_friends_the_keys_of_the_present_month_are_created() -> None:
    auth, at = Created(), now()
    ahead = KeysAhead(auth.create, pause=0)
    friends, other = [new_id(), new_id()], new_id()
    # As an import has them.
    ahead.opened(other, friends, at - timedelta(minutes=2))
    ahead.opened(CONVERSATION, friends, at)
    ahead.opened(CONVERSATION, friends, at)
    async with running(ahead):
        await until(lambda: bool(auth.calls))
        ahead.opened(other, friends, at)
        await until(lambda: len(auth.calls) == 2)
    assert auth.calls == [
        [text_key(conversation, friend, at) for friend in friends] for conversation in (CONVERSATION, other)
    ]


async def test_of_more_new_friends_than_keys_are_created_for_in_a_minute_some_are_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_BUSY", 3)
    auth, at = Created(), now()
    ahead = KeysAhead(auth.create, pause=0)
    conversations = [new_id() for _ in range(3)]
    for conversation in conversations:
        ahead.opened(conversation, [USER, new_id()], at)
    async with running(ahead):
        await until(lambda: bool(auth.calls))
        ahead.opened(conversations[2], [USER], at)
        await until(lambda: len(auth.calls) == 2)
    assert [len(call) for call in auth.calls] == [4, 1]


async def test_the_keys_of_others_are_created_although_one_author_was_erased() -> None:
    auth = Created()
    ahead = KeysAhead(auth.create, pause=0)
    conversations = [new_id() for _ in range(3)]
    first, erased, last = [key(NEXT_MONTH, conversation) for conversation in conversations]
    auth.erased.add(erased)
    async with running(ahead):
        ahead.used([key(LAST_DAYS, conversation) for conversation in conversations], LAST_DAYS)
        await until(lambda: len(auth.calls) == 4)
        # The erased author is not asked for again.
        ahead.used([key(LAST_DAYS, conversation) for conversation in conversations], LAST_DAYS)
        ahead.used([key(LAST_DAYS, USER)], LAST_DAYS)
        await until(lambda: len(auth.calls) == 5)
    assert auth.calls == [[first, erased, last], [first], [erased], [last], [key(NEXT_MONTH, USER)]]
