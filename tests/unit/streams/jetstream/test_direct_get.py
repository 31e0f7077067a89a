"""Direct gets while some replicas do not answer, or the connection is lost."""

import asyncio
from typing import Any, cast

import pytest

from streams.jetstream import direct_get
from streams.jetstream.direct_get import get_directly
from streams.jetstream.raw_message import Delivered
from streams.jetstream.requests import Denied, NoAnswer, RequestFailed

FOUND = [Delivered("r", "", b"found")]
# Longer than the test may take, and than a get that is answered.
PATIENCE = 60.0


class Inbox:
    """An inbox whose gets go to one replica after another: silent (None), or with an immediate answer or failure."""

    def __init__(self, *replicas: list[Delivered] | RequestFailed | None) -> None:
        self._replicas = list(replicas)
        self.waiting = 0

    async def request_many(self, *_: object, timeout: float, **__: object) -> list[Delivered]:
        replica = self._replicas.pop(0) if self._replicas else None
        self.waiting += 1
        try:
            if replica is None:
                await asyncio.sleep(timeout)
                raise NoAnswer
        finally:
            self.waiting -= 1
        if isinstance(replica, RequestFailed):
            raise replica
        return replica


async def get(inbox: Inbox, timeout: float = PATIENCE) -> list[Delivered]:
    return await get_directly(cast(Any, inbox), "S", b"", timeout=timeout)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direct_get, "_FIRST_PAUSE", 0.01)


async def test_a_get_that_a_replica_does_not_answer_is_sent_to_another_one_as_well() -> None:
    inbox = Inbox(None, None, FOUND)
    async with asyncio.timeout(PATIENCE / 2):
        assert await get(inbox) == FOUND
    await asyncio.sleep(0)
    assert not inbox.waiting


async def test_a_get_that_is_lost_with_its_connection_is_made_again() -> None:
    assert await get(Inbox(NoAnswer(), FOUND)) == FOUND


async def test_a_get_fails_once_the_time_is_over() -> None:
    with pytest.raises(NoAnswer):
        await get(Inbox(), timeout=0.1)


async def test_a_get_that_is_refused_is_not_made_again() -> None:
    with pytest.raises(Denied):
        await get(Inbox(Denied(), FOUND))


async def test_a_get_whose_caller_is_cancelled_leaves_nothing_behind() -> None:
    inbox = Inbox()
    caller = asyncio.create_task(get(inbox))
    async with asyncio.timeout(PATIENCE / 2):
        while inbox.waiting < 3:
            await asyncio.sleep(0.01)
    caller.cancel()
    await asyncio.gather(caller, return_exceptions=True)
    await asyncio.sleep(0)
    assert not inbox.waiting
