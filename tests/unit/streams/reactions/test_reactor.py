"""The loop of a reaction; its effects are tested with the real NATS in tests/integration."""

import asyncio
import json
from contextlib import suppress
from types import SimpleNamespace
from typing import cast
from unittest.mock import AsyncMock

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import TimeoutError as NatsTimeout
from nats.js.errors import NotFoundError

from contracts.durable_consumers import PASSWORD_ENDINGS
from contracts.envelope import Recorded
from contracts.events.event import Event
from streams.reactions.consumer import DurableConsumer
from streams.reactions.reactor import EventReactor
from streams.reactions.retries import Retries


class LossySubscription:
    """A subscription like nats-py's in Python 3.11, which loses a cancellation that arrives together with an answer."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.left = False
        self.subject = "inbox"

    async def next_msg(self, timeout: float) -> Msg:
        self.asked.set()
        try:
            await asyncio.sleep(timeout)
        except asyncio.CancelledError:
            if self.left:
                raise
            self.left = True
        raise NatsTimeout

    async def unsubscribe(self) -> None:
        pass


class FakeNats:
    def __init__(self, subscription: LossySubscription) -> None:
        self._subscription = subscription

    def jetstream(self) -> "FakeNats":
        return self

    async def add_consumer(self, stream: str, config: object) -> None:
        pass

    def new_inbox(self) -> str:
        return "inbox"

    async def subscribe(self, subject: str) -> LossySubscription:
        return self._subscription

    async def publish(self, subject: str, payload: bytes, reply: str) -> None:
        pass


async def ignore(event: Recorded[Event]) -> None:
    pass


async def test_a_reactor_stops_although_the_client_library_lost_the_cancellation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The figures need a server.
    monkeypatch.setattr(EventReactor, "_report", AsyncMock())
    subscription = LossySubscription()
    reactor = EventReactor(cast("Client", FakeNats(subscription)), PASSWORD_ENDINGS, ignore, at_once=1)
    running = asyncio.create_task(reactor.run())
    await subscription.asked.wait()
    running.cancel()
    done, _ = await asyncio.wait({running}, timeout=30)
    assert done, "the reactor goes on"
    assert subscription.left
    with pytest.raises(asyncio.CancelledError):
        running.result()


class NoStream(FakeNats):
    """The consumer cannot be created, and the cancellation arrives together with the refusal."""

    def __init__(self) -> None:
        super().__init__(LossySubscription())
        self.asked = asyncio.Event()

    async def add_consumer(self, stream: str, config: object) -> None:
        self.asked.set()
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(0.01)
        raise NotFoundError


async def test_a_reactor_without_a_stream_stops_although_the_cancellation_was_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(EventReactor, "_report", AsyncMock())
    nats = NoStream()
    running = asyncio.create_task(EventReactor(cast("Client", nats), PASSWORD_ENDINGS, ignore).run())
    await nats.asked.wait()
    running.cancel()
    done, _ = await asyncio.wait({running}, timeout=30)
    assert done, "the reactor goes on"


class UnreadableAnswer(FakeNats):
    """The first answer to the creation of the consumer is no JSON."""

    def __init__(self) -> None:
        super().__init__(LossySubscription())
        self.attempts = 0

    async def add_consumer(self, stream: str, config: object) -> None:
        self.attempts += 1
        if self.attempts == 1:
            json.loads(b"")


async def test_a_reactor_outlasts_an_answer_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EventReactor, "_report", AsyncMock())
    nats = UnreadableAnswer()
    retries = Retries(first_pause=0.0)
    running = asyncio.create_task(EventReactor(cast("Client", nats), PASSWORD_ENDINGS, ignore, retries=retries).run())
    first_request = asyncio.create_task(nats._subscription.asked.wait())
    done, _ = await asyncio.wait({running, first_request}, timeout=30, return_when=asyncio.FIRST_COMPLETED)
    assert done == {first_request}
    running.cancel()
    await asyncio.wait({running}, timeout=30)


async def test_signs_of_life_end_although_the_cancellation_was_lost() -> None:
    sent = asyncio.Event()

    async def lose_one() -> None:
        sent.set()
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(30)

    message = cast("Msg", SimpleNamespace(in_progress=lose_one))
    consumer = DurableConsumer(cast("Client", FakeNats(LossySubscription())), PASSWORD_ENDINGS, ack_wait=0.03)
    heartbeats = asyncio.create_task(consumer.keep(message))
    await sent.wait()
    heartbeats.cancel()
    done, _ = await asyncio.wait({heartbeats}, timeout=10)
    assert done, "it goes on"
