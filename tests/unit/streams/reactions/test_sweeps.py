"""Sweeps go on whatever fails."""

import asyncio

import pytest

from contracts.errors import Unavailable
from streams.reactions.sweeps import sweep, sweep_once


@pytest.mark.parametrize("error", [Unavailable(), ZeroDivisionError()])
async def test_an_item_that_fails_does_not_keep_the_others(caplog: pytest.LogCaptureFixture, error: Exception) -> None:
    done: list[str] = []

    async def due() -> list[str]:
        return ["bad", "good"]

    async def act(item: str) -> None:
        if item == "bad":
            raise error
        done.append(item)

    await sweep_once("things", due, act, name_of=str.upper)
    assert done == ["good"]
    assert "things: BAD failed" in caplog.text
    assert "bad" not in caplog.text


@pytest.mark.parametrize("error", [Unavailable(), ZeroDivisionError()])
async def test_a_sweep_that_cannot_read_what_is_due_is_followed_by_others(error: Exception) -> None:
    sweeps, done = 0, asyncio.Event()

    async def due() -> list[str]:
        nonlocal sweeps
        sweeps += 1
        if sweeps == 1:
            raise error
        return ["good"]

    async def act(item: str) -> None:
        done.set()

    running = asyncio.create_task(sweep("things", due, act, name_of=str, every=0.01))
    try:
        async with asyncio.timeout(60):
            await done.wait()
    finally:
        running.cancel()
        await asyncio.wait({running})
    assert sweeps >= 2
