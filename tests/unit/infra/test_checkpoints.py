"""The checkpoints are the last known ones while the database does not answer; a cancellation is never lost."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import pytest
from psycopg import AsyncConnection, OperationalError

from infra import checkpoints
from infra.checkpoints import Checkpoints
from infra.runtime.connections import Pool


class _Silent:
    """Lends no connection, and turns a cancellation into an error of the database."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[AsyncConnection]:
        self.asked.set()
        try:
            await asyncio.sleep(3_600)
        except asyncio.CancelledError:
            raise OperationalError("the query was cancelled") from None
        raise AssertionError
        yield


async def test_a_cancelled_query_that_ends_with_an_error_of_its_own_cancels_the_caller() -> None:
    pool = _Silent()
    reading = asyncio.create_task(Checkpoints(cast(Pool, pool), "AUTH", needed=False).highest())
    await pool.asked.wait()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading


async def test_a_database_that_does_not_answer_in_time_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "_PATIENCE_SECONDS", 0.01)
    assert await Checkpoints(cast(Pool, _Silent()), "AUTH", needed=False).highest() == 0
