"""A pause lasts as long as configured, unless a caller waits."""

import asyncio
import time

import pytest

from projections.engine.apply import batch_pacing
from projections.engine.apply.batch_pacing import BatchPacing

LONG = 60.0


@pytest.fixture(autouse=True)
def long_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_pacing, "_REST_SECONDS", LONG)


async def test_without_waiting_requests_there_is_a_pause() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await BatchPacing().pause(time.monotonic(), 0.0)


async def test_a_projection_may_want_longer_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_pacing, "_REST_SECONDS", 0.0)
    started = time.monotonic()
    await BatchPacing().pause(started, 0.0)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await BatchPacing(LONG).pause(started, 0.0)
    pacing = BatchPacing(LONG)
    pacing.request_now()
    async with asyncio.timeout(LONG / 2):
        await pacing.pause(time.monotonic(), 0.0)


async def test_a_pause_is_measured_from_the_start_of_the_last_batch() -> None:
    async with asyncio.timeout(LONG / 2):
        await BatchPacing().pause(time.monotonic() - LONG, 0.0)


async def test_a_request_during_a_pause_ends_it() -> None:
    pacing = BatchPacing()
    resting = asyncio.create_task(pacing.pause(time.monotonic(), 0.0))
    await asyncio.sleep(0)
    pacing.request_now()
    pacing.request_now()
    async with asyncio.timeout(LONG / 2):
        await resting


async def test_after_a_request_there_is_no_pause_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    pacing = BatchPacing()
    pacing.request_now()
    async with asyncio.timeout(LONG / 2):
        await pacing.pause(time.monotonic(), 0.0)
        await pacing.pause(time.monotonic(), 0.0)
    monkeypatch.setattr(batch_pacing, "_LASTS_SECONDS", 0.0)
    pacing.request_now()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await pacing.pause(time.monotonic(), 0.0)


@pytest.mark.parametrize(("took", "ends"), [(0.0, 20), (0.005, 50), (0.03, 100), (7.0, 100)])
async def test_a_batch_that_took_long_is_followed_by_a_longer_pause(
    took: float, ends: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    now = 1_000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    waited: list[float] = []

    async def wait(futures: object, *, timeout: float) -> None:
        waited.append(timeout)

    monkeypatch.setattr(asyncio, "wait", wait)
    await BatchPacing().pause(now, took)
    assert [round(one * 1_000) for one in waited] == [ends]
