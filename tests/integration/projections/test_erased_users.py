"""Which users a process knows as erased: from its read model and AUTH, whatever the read model can answer."""

import asyncio
import time
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import cast

import pytest
from nats.aio.client import Client

from contracts import subjects
from contracts.errors import ReadModelBehind, Unavailable
from contracts.events.user import UserCreated, UserErased, UserErasureCompleted
from contracts.positions import Position
from contracts.subjects import AUTH
from contracts.values.ids import new_id
from projections.engine import ReadModel
from projections.engine.erased_users import ErasedUsers
from projections.friends import Friends
from streams.batching.bursts import PAUSE_SECONDS
from tests.fix_postgres import Pool
from tests.integration.projections.event_writer import PATIENCE, Opened, Writer

GONE, ENDED, THERE = new_id(), new_id(), new_id()


class Silent:
    """A read model that answers with an error, as one that is being built, or without a database."""

    def __init__(self, error: Exception) -> None:
        self.error: Exception = error

    async def select(self, *_: object) -> None:
        raise self.error


@asynccontextmanager
async def following(erased: ErasedUsers) -> AsyncIterator[list[set[str]]]:
    """The users that its listener was called with."""
    erased_sets: list[set[str]] = []

    def drop(users: Collection[str]) -> None:
        erased_sets.append(set(users))

    erased.listen(drop)
    task = asyncio.create_task(erased.follow())
    try:
        yield erased_sets
    finally:
        task.cancel()


async def erase(writer: Writer, user_id: str, reason: str = "requested") -> int:
    await writer.append(subjects.user(user_id), UserCreated(username="anna"))
    return await writer.append(subjects.user(user_id), UserErased(reason=reason))


async def until(erased: ErasedUsers, user_id: str) -> None:
    async with asyncio.timeout(PATIENCE):
        while not await erased.has(user_id):
            await asyncio.sleep(0.01)


async def test_until_they_are_known_nobody_passes_and_later_they_are(streams: Client, writer: Writer) -> None:
    await erase(writer, GONE)
    model = Silent(Unavailable())
    erased = ErasedUsers(streams, cast(ReadModel, model), patience=0.1)
    async with following(erased):
        for user_id in (GONE, THERE):
            with pytest.raises(Unavailable):
                await erased.has(user_id)
        # Being built, it may wait for keys that nobody has; AUTH alone says it too.
        model.error = ReadModelBehind()
        async with asyncio.timeout(PATIENCE):
            await erased._loaded.wait()
        assert await erased.has(GONE)
        assert not await erased.has(THERE)


async def test_a_call_waits_for_them_for_a_moment(streams: Client, writer: Writer) -> None:
    await erase(writer, GONE)
    erased = ErasedUsers(streams, cast(ReadModel, Silent(ReadModelBehind())), patience=PATIENCE)
    asked = asyncio.create_task(erased.has(GONE))
    await asyncio.sleep(0)
    async with following(erased):
        assert await asked


async def test_what_the_read_model_knows_needs_not_to_be_read_again(
    streams: Client, writer: Writer, run: Opened, pool: Pool
) -> None:
    await erase(writer, ENDED, "registration_ended")
    last = await erase(writer, GONE)
    runners = await run(Friends)
    model = ReadModel(Friends, pool, runners.waiting)
    await model.wait_for(Position.at(AUTH, last), timeout=PATIENCE)
    erased = ErasedUsers(streams, model, patience=PATIENCE)
    async with following(erased) as erased_sets:
        assert await erased.has(GONE)
        assert not await erased.has(ENDED)
        assert erased_sets == [{GONE}]


async def test_registrations_that_ended_clear_nothing_and_many_erasures_clear_once_in_a_second(
    streams: Client, writer: Writer
) -> None:
    erased = ErasedUsers(streams, cast(ReadModel, Silent(ReadModelBehind())), patience=PATIENCE)
    async with following(erased) as erased_sets:
        assert not await erased.has(GONE)
        began = time.monotonic()
        for _ in range(20):
            user_id = new_id()
            await erase(writer, user_id, "registration_ended")
            await writer.append(subjects.user(user_id), UserErasureCompleted())
        many = [new_id() for _ in range(20)]
        for user_id in many:
            await erase(writer, user_id)
        for user_id in many:
            await writer.append(subjects.user(user_id), UserErasureCompleted())
        last = new_id()
        await erase(writer, last)
        await until(erased, last)
        async with asyncio.timeout(PATIENCE):
            while last not in set().union(*erased_sets):
                await asyncio.sleep(0.01)
    assert set().union(*erased_sets) == {*many, last}
    # However long it took.
    assert len(erased_sets) <= 2 + (time.monotonic() - began) / PAUSE_SECONDS
