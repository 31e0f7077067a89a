"""A client's notifications follow the user's mutes once these are loaded."""

import asyncio
from random import Random

import msgspec
import pytest

from contracts.envelope import Recorded, now
from contracts.events.event import Event
from contracts.events.message import MessageSent
from contracts.notification_kinds import NOTIFIED_MESSAGING
from contracts.positions import Position
from contracts.subjects import MESSAGING
from services.gateway.live import subscription
from services.gateway.live.client_queue import ClientQueue
from services.gateway.live.fanout import STREAMS, OutboundEvent, fan_out
from services.gateway.live.friend_index import FriendIndex
from services.gateway.live.hub import Hub
from services.gateway.live.subscription import ClientEvent
from tests.unit.services.gateway.live.world import FRIEND, ME, OWN_SESSION, STRANGER, World, feed, plain, world_friends


def notification(sequence: int, sender_id: str) -> OutboundEvent:
    sent = MessageSent(
        message_id="m", sender_id=sender_id, recipient_id=ME, sequence=sequence, text="Hi", client_message_id="c"
    )
    event: Recorded[Event] = Recorded(
        stream=MESSAGING,
        sequence=sequence,
        subject="s",
        id=str(sequence),
        type=sent.TYPE,
        aggregate_id="c",
        version=sequence,
        at=now(),
        actor=None,
        correlation_id=None,
        causation_id=None,
        data=sent,
    )
    [_, created] = fan_out(event)
    return created


async def test_a_muted_conversation_causes_no_notification_once_the_mutes_are_loaded_and_delays_nothing_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(subscription, "_MUTES_WITHIN", 0.0)
    hub, world = Hub(FriendIndex(world_friends), seal=plain), World(Random(1))
    for stream in STREAMS:
        hub.start_stream(stream, 5)
    world.mutes_fail = 100
    position = Position(dict.fromkeys(STREAMS, 5)).encode()
    client_subscription, queue = feed(world, hub, position, notified=True)

    async def notified(count: int) -> list[str]:
        events: list[ClientEvent] = []
        while len(events) < count:
            events += await client_subscription.next()
        return [msgspec.json.decode(event.data)["from_user_id"] for event in events]

    async with client_subscription:
        hub.publish(notification(6, FRIEND))
        assert await notified(1) == [FRIEND]
        world.mutes_fail = 0
        async with asyncio.timeout(60):
            while not queue.muted:
                await asyncio.sleep(0)
        for sequence, sender_id in ((7, FRIEND), (8, STRANGER)):
            hub.publish(notification(sequence, sender_id))
        assert await notified(1) == [STRANGER]
        # Those that are still in memory are left out for another client, too.
        other = ClientQueue(ME, OWN_SESSION, notified=True, expires_at=float("inf"))
        other.muted = queue.muted
        friends = await hub.friend_index.acquire(ME, 5, lambda: 5)
        assert [event.sequence for event in hub.recent(other, {NOTIFIED_MESSAGING: 5}, friends)] == [8]
        world.mutes.changed(ME, FRIEND, 0.0)
        hub.publish(notification(9, FRIEND))
        assert await notified(1) == [FRIEND]
