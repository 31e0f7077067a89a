"""The transition from backfill to live events, however events, gateways, read models and clients move."""

import asyncio
from random import Random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.envelope import now
from contracts.positions import Position
from contracts.subjects import MESSAGING, PROFILE
from services.gateway.live.backfill_slots import SMALL
from services.gateway.live.client_queue import CloseReason
from services.gateway.live.fanout import STREAMS, OutboundEvent
from services.gateway.live.friend_index import FriendIndex
from services.gateway.live.hub import Hub
from services.gateway.live.subscription import ClientEvent
from tests.unit.services.gateway.live.world import FRIEND, ME, World, feed, plain, world_friends


async def run_client(random: Random) -> None:
    world = World(random)
    world.move(30)
    position, received = "", dict[str, list[int]]({stream: [] for stream in STREAMS})

    def receive(item: ClientEvent) -> None:
        nonlocal position
        before, after = Position.decode(position), Position.decode(item.id)
        assert all(after.sequence(stream) >= before.sequence(stream) for stream in STREAMS)
        received[item.type].append(msgspec.json.decode(item.data)["n"])
        position = item.id

    def deliver(items: list[ClientEvent]) -> bool:
        """Delivers all queued events, or some, to the client; its position is that of the last one."""
        delivered = items[: random.randint(0, len(items))] if random.random() < 0.2 else items
        for item in delivered:
            receive(item)
        return len(delivered) == len(items)

    def try_write(item: ClientEvent) -> bool:
        if random.random() < 0.3:
            return False
        receive(item)
        return True

    for _ in range(random.randint(1, 5)):
        # A client that comes to a gateway waits until that has come as far as its position.
        hub = random.choice(world.hubs)
        while not hub.has_reached(Position.decode(position).sequences):
            world.hear(hub)
        subscription, _ = feed(world, hub, position)
        subscription.try_write = try_write if random.random() < 0.8 else None
        async with subscription:
            for _ in range(random.randint(0, 12)):
                world.move(6)
                # Events happen while it waits, too.
                asyncio.get_running_loop().call_soon(world.move, 6)
                items = await subscription.next()
                if items and not deliver(items):
                    break
                if not items and random.random() < 0.5:
                    position = subscription.id
    world.settle()
    subscription, _ = feed(world, world.hubs[0], position)
    async with subscription:
        idle = 0
        while idle < 3:
            items = await subscription.next()
            idle = 0 if items else idle + 1
            for item in items:
                received[item.type].append(msgspec.json.decode(item.data)["n"])
    assert received == world.mine()


@settings(max_examples=100, deadline=None)
@given(st.randoms(use_true_random=False))
def test_every_event_comes_once_and_in_order(random: Random) -> None:
    asyncio.run(run_client(random))


def require_backfill(world: World) -> None:
    """All events are older than the replay buffers: clients get them by a backfill."""
    for stream in STREAMS:
        for sequence in range(1, 30):
            data = msgspec.json.encode({"session_id": "another", "n": sequence})
            to = {"": data} if stream == PROFILE else {ME: data}
            about = FRIEND if stream == PROFILE else ""
            world.streams[stream].append(
                OutboundEvent(
                    channel=stream, sequence=sequence, type=stream, at=now(), payload_by_user=to, friends_of=about
                )
            )
    world.over = True
    for hub in world.hubs:
        for stream in STREAMS:
            hub.mark_lost(stream, 29)


async def test_a_client_holds_no_page_while_others_of_its_user_hold_theirs() -> None:
    world = World(Random(1))
    require_backfill(world)
    feeds = [feed(world, world.hubs[0], "")[0] for _ in range(3)]
    one, two, three = feeds
    assert await one.next()
    assert await two.next()
    # Heartbeats alone, however often it is called.
    for _ in range(5):
        assert await three.next() == []
        assert three.end is None
    async with one:
        pass
    assert await three.next()
    assert len(world.slots) == 2
    for subscription in (two, three):
        async with subscription:
            pass
    assert len(world.slots) == 0


async def test_a_client_that_has_caught_up_leaves_its_turn_to_others() -> None:
    world = World(Random(1))
    require_backfill(world)
    feeds = [feed(world, world.hubs[0], "")[0] for _ in range(6)]
    received = [0] * len(feeds)
    while min(received) < 29 * len(STREAMS):
        for number, subscription in enumerate(feeds):
            received[number] += len(await subscription.next())
            assert len(world.slots) <= 2
    for subscription in feeds:
        await subscription.next()
    assert len(world.slots) == 0


async def test_events_in_memory_are_delivered_in_parts() -> None:
    world = World(Random(1))
    hub = Hub(FriendIndex(world_friends), seal=plain)
    for stream in STREAMS:
        hub.start_stream(stream, 0)
    subscription, _ = feed(world, hub, "")
    large = b'{"n":"' + b"x" * 10_000 + b'"}'
    for sequence in range(1, 101):
        hub.publish(
            OutboundEvent(channel="MESSAGING", sequence=sequence, type="t", at=now(), payload_by_user={ME: large})
        )
    sizes: list[int] = []
    while sum(sizes) < 100:
        sizes.append(len(await subscription.next()))
    assert sum(sizes) == 100
    assert max(sizes) * 10_000 <= SMALL + 10_000


async def test_the_end_of_a_session_has_the_position_of_the_last_delivered_event() -> None:
    hub = Hub(FriendIndex(world_friends), seal=plain)
    for stream in STREAMS:
        hub.start_stream(stream, 0)
    subscription, queue = feed(World(Random(1)), hub, "")
    ids: list[str] = []

    def write(item: ClientEvent) -> bool:
        ids.append(item.id)
        return True

    def end() -> None:
        for sequence in (1, 2, 3):
            if sequence == 3:
                queue.close(CloseReason.SESSION, "logout")
            hub.publish(
                OutboundEvent(channel=MESSAGING, sequence=sequence, type="t", at=now(), payload_by_user={ME: b"{}"})
            )

    subscription.try_write = write
    async with subscription:
        assert await subscription.next() == []
        asyncio.get_running_loop().call_soon(end)
        (ended,) = await subscription.next()
    assert [Position.decode(event_id).sequence(MESSAGING) for event_id in (*ids, ended.id)] == [1, 2, 2]


@pytest.mark.parametrize("direct", [True, False])
async def test_an_ephemeral_event_has_no_position_and_moves_none(direct: bool) -> None:
    hub = Hub(FriendIndex(world_friends), seal=plain)
    for stream in STREAMS:
        hub.start_stream(stream, 5)
    position = Position(dict.fromkeys(STREAMS, 5))
    subscription, _ = feed(World(Random(1)), hub, position.encode())
    written: list[ClientEvent] = []

    def write(item: ClientEvent) -> bool:
        written.append(item)
        return True

    async with subscription:
        # Not yet attached.
        hub.offer(ME, "typing", b"0")
        assert await subscription.next() == []
        subscription.try_write = write if direct else None
        asyncio.get_running_loop().call_soon(hub.offer, ME, "typing", b"1")
        while not written:
            written += await subscription.next()
        assert written == [ClientEvent("", "typing", b"1")]
        assert Position.decode(subscription.id) == position
