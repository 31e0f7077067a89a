"""Replies reach a client with the text that they quote, in the order of the events."""

import asyncio
from collections.abc import Collection, Sequence
from random import Random

import msgspec
import pytest

from contracts.envelope import Recorded, now
from contracts.events.event import Event
from contracts.events.message import MessageSent, RepliedTo
from contracts.positions import Position
from contracts.subjects import MESSAGING
from contracts.values.ids import new_id, pair_id
from services.gateway.cache.quote_texts import Quoted, QuotedText, QuotedTexts, QuoteTexts
from services.gateway.live.fanout import STREAMS, OutboundEvent, fan_out
from services.gateway.live.friend_index import FriendIndex
from services.gateway.live.hub import Hub
from services.gateway.live.subscription import ClientEvent
from tests.unit.services.gateway.live.world import ME, World, feed, plain

PEER, OLD, NEW = new_id(), new_id(), new_id()


async def peer_alone(user_id: str, contact: int) -> Collection[str]:
    return {PEER}


def message(sequence: int, message_id: str = "", reply_to: RepliedTo | None = None) -> OutboundEvent:
    """A message to this user, and no notification."""
    sent = MessageSent(
        message_id=message_id or new_id(),
        sender_id=PEER,
        recipient_id=ME,
        sequence=sequence,
        text=f"text {sequence}",
        client_message_id="c",
        reply_to=reply_to,
    )
    event: Recorded[Event] = Recorded(
        stream=MESSAGING,
        sequence=sequence,
        subject="s",
        id=str(sequence),
        type=sent.TYPE,
        aggregate_id=pair_id(ME, PEER),
        version=sequence,
        at=now(),
        actor=None,
        correlation_id=None,
        causation_id=None,
        data=sent,
    )
    return next(iter(fan_out(event)))


@pytest.mark.parametrize("direct", [True, False])
@pytest.mark.parametrize("answered", [True, False])
async def test_a_reply_waits_for_the_text_that_it_quotes_and_later_events_stay_behind_it(
    direct: bool, answered: bool
) -> None:
    hub, world = Hub(FriendIndex(peer_alone), seal=plain), World(Random(1))
    for stream in STREAMS:
        hub.start_stream(stream, 5)
    requested, may_answer = asyncio.Event(), asyncio.Event()

    async def load(messages: Sequence[Quoted], messaging: int) -> QuotedTexts:
        requested.set()
        await may_answer.wait()
        return {OLD: QuotedText("quoted", False)}

    world.quotes = QuoteTexts(load, position=lambda: 0, loaded=hub.quote, patience=60 if answered else 0.01)
    looking_up = asyncio.create_task(world.quotes.run())
    position = Position(dict.fromkeys(STREAMS, 5)).encode()
    subscription, _ = feed(world, hub, position)
    received: list[tuple[int, object]] = []

    def write(item: ClientEvent) -> bool:
        shown = msgspec.json.decode(item.data)
        received.append((shown["sequence"], shown.get("reply_to", {}).get("text")))
        return True

    async def read() -> None:
        while len(received) < 4:
            for item in await subscription.next():
                write(item)

    def publish() -> None:
        hub.publish(message(6))
        hub.publish(message(7, reply_to=RepliedTo(message_id=OLD, sequence=1, sender_id=ME)))
        hub.publish(message(8, NEW))
        hub.publish(message(9, reply_to=RepliedTo(message_id=NEW, sequence=8, sender_id=PEER)))

    async with subscription:
        while not subscription._attached:
            await subscription.next()
        subscription.try_write = write if direct else None
        asyncio.get_running_loop().call_soon(publish)
        reading = asyncio.create_task(read())
        async with asyncio.timeout(60):
            await requested.wait()
            if answered:
                assert [sequence for sequence, _ in received] in ([6], [])
                may_answer.set()
            await reading
    looking_up.cancel()
    # The reply to a message that the gateway has in memory needs no look-up.
    assert received == [(6, None), (7, "quoted" if answered else None), (8, None), (9, "text 8")]


async def test_a_client_that_comes_back_gets_the_text_that_a_reply_in_memory_quotes() -> None:
    hub, world = Hub(FriendIndex(peer_alone), seal=plain), World(Random(1))
    for stream in STREAMS:
        hub.start_stream(stream, 5)
    looking_up = asyncio.create_task(world.quotes.run())
    hub.publish(message(6, reply_to=RepliedTo(message_id=OLD, sequence=1, sender_id=ME)))
    subscription, _ = feed(world, hub, Position(dict.fromkeys(STREAMS, 5)).encode())
    async with subscription:
        items: list[ClientEvent] = []
        while not items:
            items = await subscription.next()
    looking_up.cancel()
    assert msgspec.json.decode(items[0].data)["reply_to"]["text"] == "quoted"
