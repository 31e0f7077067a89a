"""The hub: from which event on a new client receives live events."""

import asyncio
from collections.abc import Collection

from contracts.envelope import Recorded, now
from contracts.events.event import Event
from contracts.events.message import MessageDeleted, MessageSent
from contracts.notification_kinds import NOTIFIED_MESSAGING
from contracts.subjects import MESSAGING, PROFILE
from contracts.values.ids import new_id, pair_id
from services.gateway.live.client_queue import ClientQueue
from services.gateway.live.fanout import STREAMS, fan_out
from services.gateway.live.friend_index import FriendIndex
from services.gateway.live.hub import Hub


async def test_a_client_behind_a_skipped_update_gets_it_by_a_backfill() -> None:
    async def friends(user_id: str, contact: int) -> Collection[str]:
        return {"u1", "u2"}

    hub = Hub(FriendIndex(friends), seal=str)
    hub.start_stream(PROFILE, 100)
    # Update 101 of u1 arrives while no client here is a friend of u1; 102 of u2 still waits for the profile service.
    hub.skip(101)
    friend_set = await hub.friend_index.acquire("anna", 0, lambda: hub.position(PROFILE))
    assert not hub.covers(PROFILE, 100, friend_set)
    assert hub.covers(PROFILE, 101, friend_set)


async def test_a_client_that_waits_for_a_skipped_position_is_woken() -> None:
    async def no_friends(user_id: str, contact: int) -> Collection[str]:
        return ()

    hub = Hub(FriendIndex(no_friends), seal=str)
    hub.start_stream(PROFILE, 100)
    waiting = asyncio.create_task(hub.until_reached({PROFILE: 101}, 30))
    await asyncio.sleep(0)
    hub.skip(101)
    async with asyncio.timeout(60):
        assert await waiting


async def test_a_client_that_was_away_gets_no_notification_of_a_deleted_message() -> None:
    async def no_friends(user_id: str, contact: int) -> Collection[str]:
        return ()

    hub = Hub(FriendIndex(no_friends), seal=str)
    for stream in STREAMS:
        hub.start_stream(stream, 0)
    anna, boris, deleted = new_id(), new_id(), new_id()
    pair = pair_id(anna, boris)

    def sent(message_id: str, number: int) -> Event:
        return MessageSent(
            message_id=message_id,
            sender_id=anna,
            recipient_id=boris,
            sequence=number,
            text="text",
            client_message_id=str(number),
        )

    deletion = MessageDeleted(
        message_id=deleted, conversation_id=pair, sequence=1, sender_id=anna, sent_at=now(), members=(anna, boris)
    )
    for sequence, event in enumerate((sent(deleted, 1), sent(new_id(), 2), deletion), 1):
        recorded = Recorded(
            stream=MESSAGING,
            sequence=sequence,
            subject="s",
            id=new_id(),
            type=event.TYPE,
            aggregate_id=pair,
            version=sequence,
            at=now(),
            actor=None,
            correlation_id=None,
            causation_id=None,
            data=event,
        )
        for outbound in fan_out(recorded):
            hub.publish(outbound)
    friend_set = await hub.friend_index.acquire(boris, 0, lambda: hub.position(PROFILE))
    queue = ClientQueue(boris, "session", notified=True, expires_at=0.0)
    assert [event.sequence for event in hub.recent(queue, {NOTIFIED_MESSAGING: 0}, friend_set)] == [2]
    assert hub.covers(NOTIFIED_MESSAGING, 0, friend_set)
