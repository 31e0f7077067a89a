"""The loop of a runner; what it applies is tested with real servers in tests/integration."""

import asyncio
from typing import Any, cast

import pytest
from psycopg import OperationalError

from projections.engine.running.runner import Runner
from projections.friends import Friends


async def test_a_runner_stops_although_its_cancelled_query_ended_with_an_error_of_the_database(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    query_started = asyncio.Event()

    async def query(_: Runner) -> None:
        query_started.set()
        try:
            await asyncio.sleep(3_600)
        except asyncio.CancelledError:
            raise OperationalError("the connection is closed") from None

    monkeypatch.setattr(Runner, "_take_part", query)
    unused = cast(Any, None)
    running = asyncio.create_task(Runner(Friends, unused, "", unused, unused).run())
    await query_started.wait()
    running.cancel()
    done, _ = await asyncio.wait({running}, timeout=30)
    assert done, "the runner goes on"
    assert running.cancelled()
