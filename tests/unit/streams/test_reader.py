"""What a reader does while a server refuses to serve its stream for now."""

import asyncio
from typing import cast

import pytest
from nats.aio.client import Client

from contracts.errors import Unavailable
from contracts.subjects import MESSAGING
from streams.jetstream.api import ApiError, Refused
from streams.jetstream.ordered_consumer import Consumer
from streams.reader import Reader

_REFUSAL = Refused(ApiError(503, 10008, "JetStream system temporarily unavailable"))


async def _start_after(refusals: int, reader: Reader, monkeypatch: pytest.MonkeyPatch) -> Consumer:
    """Lets the reader begin at a server that refuses the given number of times first."""
    consumer = cast(Consumer, object())
    answers = iter([_REFUSAL] * refusals)

    async def start() -> Consumer:
        for refusal in answers:
            raise refusal
        return consumer

    monkeypatch.setattr(reader, "_start", start)
    async with asyncio.timeout(30):
        assert await reader._begin() is consumer
    return consumer


async def test_a_refusal_that_lasts_ends_a_reading_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = Reader(Client(), MESSAGING, name="command", patience=0.05)
    with pytest.raises(Unavailable, match=f"{MESSAGING} cannot be read: JetStream system temporarily unavailable"):
        await _start_after(1_000_000, reader, monkeypatch)


async def test_a_reader_of_a_service_outlasts_refusals(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = Reader(Client(), MESSAGING, name="service", patience=0.0, outlasts_refusals=True)
    await _start_after(3, reader, monkeypatch)
