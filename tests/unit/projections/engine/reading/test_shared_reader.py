"""A shared reader whose cancellation is swallowed by a library."""

import asyncio
import contextlib
from types import SimpleNamespace
from typing import Any, Self, cast

import pytest

from projections.engine.reading import shared_reader
from projections.engine.reading.shared_reader import SharedReader, SharedReaders
from streams.reader import ReadBatch


class LossyReader:
    """As a read in Python 3.11 may: a cancellation that arrives together with a batch is lost."""

    reading = asyncio.Event()

    def __init__(self, *_: object, **__: object) -> None:
        pass

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def next(self, limit: int) -> ReadBatch:
        self.reading.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(3_600)
        return ReadBatch([], 0, 0)


async def test_the_last_member_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_reader, "Reader", LossyReader)
    monkeypatch.setattr(LossyReader, "reading", asyncio.Event())
    nats = cast(Any, SimpleNamespace(stats={"reconnects": 0}))
    reader = SharedReader(SharedReaders(nats), ("S", None), 0)
    assert await reader.join(0)
    waiting = asyncio.create_task(reader.next(0, 10))
    await LossyReader.reading.wait()
    async with asyncio.timeout(10):
        await reader.leave()
        with pytest.raises(ConnectionError):
            await waiting
