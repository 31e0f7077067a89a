"""The joint of history and present, in any order in which events, gateways, read models and clients can move."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from random import Random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.envelope import Recorded, now
from contracts.errors import Unavailable
from contracts.events.event import Event
from contracts.events.message import MessageSent, RepliedTo
from contracts.notification_kinds import NOTIFIED_MESSAGING, stream_of
from contracts.positions import Position
from contracts.subjects import MESSAGING, PROFILE
from contracts.values.ids import new_id, pair_id
from services.gateway.cache.mute_index import MuteIndex
from services.gateway.cache.quote_texts import Quoted, QuotedText, QuotedTexts, QuoteTexts
from services.gateway.live import subscription
from services.gateway.live.backfill import EventPage
from services.gateway.live.backfill_slots import SMALL, BackfillSlots
from services.gateway.live.client_queue import ClientQueue, CloseReason, QueuedEvent
from services.gateway.live.fanout import CHANNELS, STREAMS, OutboundEvent, fan_out
from services.gateway.live.friend_index import FriendIndex
from services.gateway.live.hub import ChannelPositions, Hub
from services.gateway.live.replay_buffer import ReplayBuffer
from services.gateway.live.subscription import ClientEvent, Subscription

ME, FRIEND, STRANGER, OWN_SESSION = new_id(), "friend", "stranger", "session"


def plain(positions: ChannelPositions) -> str:
    return Position(dict(positions)).encode()


class World:
    """The streams as they are, and gateways that have heard of some of it."""

    def __init__(self, random: Random, gateways: int = 2) -> None:
        self.random = random
        # What each event tells, in order; None where it tells this user nothing.
        self.streams: dict[str, list[OutboundEvent]] = {stream: [] for stream in STREAMS}
        self.hubs = [self._hub() for _ in range(gateways)]
        # Nothing happens any more.
        self.over = False
        self.slots = BackfillSlots(most_of_one=2)
        self.mutes = MuteIndex(self.load_mutes, pause=0.0)
        self.quotes = QuoteTexts(self.load_quotes, position=lambda: 0, loaded=lambda texts: None)
        # How often the mutes cannot be loaded.
        self.mutes_fail = 0

    def _hub(self) -> Hub:
        async def load(user_id: str, contact: int) -> Collection[str]:
            self.move(2)
            await asyncio.sleep(0)
            return {FRIEND}

        hub = Hub(FriendIndex(load), seal=plain, recent=lambda: ReplayBuffer(most=self.random.randint(1, 6)))
        for stream in STREAMS:
            hub.start_stream(stream, 0)
        return hub

    def happen(self) -> None:
        stream = self.random.choice(STREAMS)
        sequence = len(self.streams[stream]) + 1
        data = msgspec.json.encode({"session_id": "another", "n": sequence})
        mine = self.random.random() < 0.6
        about, to = "", {ME: data, FRIEND: data} if mine else {STRANGER: data}
        if stream == PROFILE:
            about, to = (FRIEND if mine else STRANGER), {"": data}
        outbound = OutboundEvent(
            channel=stream, sequence=sequence, type=stream, at=now(), payload_by_user=to, friends_of=about
        )
        self.streams[stream].append(outbound)

    def hear(self, hub: Hub) -> None:
        """The gateway reads up to three more events of a stream, whether or not they concern the client."""
        stream = self.random.choice(STREAMS)
        heard = hub.position(stream)
        for outbound in self.streams[stream][heard : heard + self.random.randint(1, 3)]:
            if outbound.friends_of and not hub.friend_index.friends_of(outbound.friends_of):
                hub.skip(outbound.sequence)
            else:
                hub.publish(outbound)
            hub.advance(stream, outbound.sequence)

    def move(self, steps: int) -> None:
        if self.over:
            return
        for _ in range(self.random.randint(0, steps)):
            if self.random.random() < 0.4:
                self.happen()
            else:
                self.hear(self.random.choice(self.hubs))

    def settle(self) -> None:
        self.over = True
        for hub in self.hubs:
            while any(hub.position(stream) < len(events) for stream, events in self.streams.items()):
                self.hear(hub)

    def mine(self) -> dict[str, list[int]]:
        return {
            stream: [
                outbound.sequence
                for outbound in events
                if ME in outbound.payload_by_user or outbound.friends_of == FRIEND
            ]
            for stream, events in self.streams.items()
        }

    # What the owners answer

    async def page(
        self, channel: str, user_id: str, friends: Collection[str], after: int, until: int, most_bytes: int
    ) -> EventPage:
        self.move(4)
        await asyncio.sleep(0)
        if not self.over and self.random.random() < 0.1:
            raise Unavailable
        size = self.random.randint(1, 4)
        found = [
            QueuedEvent(channel, outbound.sequence, outbound.type, next(iter(outbound.payload_by_user.values())))
            for outbound in self.streams[channel]
            if after < outbound.sequence <= until and (ME in outbound.payload_by_user or outbound.friends_of in friends)
        ]
        self.move(4)
        page = found[:size]
        return EventPage(page, until if len(found) <= size else page[-1].sequence)

    async def are_friends(self, user_id: str, other_id: str) -> bool:
        return True

    async def load_quotes(self, messages: Sequence[Quoted], messaging: int) -> QuotedTexts:
        return {quoted.message_id: QuotedText("quoted", False) for quoted in messages}

    async def load_mutes(self, user_id: str, messaging: int) -> Mapping[str, float]:
        if self.mutes_fail:
            self.mutes_fail -= 1
            raise Unavailable
        return {FRIEND: float("inf")}


async def still_active(session_id: str) -> bool:
    return True


def feed(world: World, hub: Hub, position: str, *, notified: bool = False) -> tuple[Subscription, ClientQueue]:
    channels = CHANNELS if notified else STREAMS
    positions = {channel: Position.decode(position).sequence(stream_of(channel)) for channel in channels}
    queue = ClientQueue(ME, OWN_SESSION, notified=notified, expires_at=float("inf"))
    made = Subscription(
        hub,
        world,
        queue,
        positions,
        still_active=still_active,
        slots=world.slots,
        mutes=world.mutes,
        quotes=world.quotes,
        handed_out=lambda number: None,
        heartbeat=0.0,
        pause=0.0,
    )
    return made, queue


async def live(random: Random) -> None:
    world = World(random)
    world.move(30)
    position, got = "", dict[str, list[int]]({stream: [] for stream in STREAMS})

    def get(item: ClientEvent) -> None:
        nonlocal position
        before, after = Position.decode(position), Position.decode(item.id)
        assert all(after.sequence(each) >= before.sequence(each) for each in STREAMS)
        got[item.type].append(msgspec.json.decode(item.data)["n"])
        position = item.id

    def take(items: list[ClientEvent]) -> bool:
        """Delivers all queued events, or some, to the client; its position is that of the last one."""
        arrived = items[: random.randint(0, len(items))] if random.random() < 0.2 else items
        for item in arrived:
            get(item)
        return len(arrived) == len(items)

    def at_once(item: ClientEvent) -> bool:
        if random.random() < 0.3:
            return False
        get(item)
        return True

    for _ in range(random.randint(1, 5)):
        # A client that comes to a gateway waits until that has come as far as its position.
        hub = random.choice(world.hubs)
        while not hub.has_reached(Position.decode(position).sequences):
            world.hear(hub)
        found, _ = feed(world, hub, position)
        found.try_write = at_once if random.random() < 0.8 else None
        async with found:
            for _ in range(random.randint(0, 12)):
                world.move(6)
                # Something happens while it rests, too.
                asyncio.get_running_loop().call_soon(world.move, 6)
                items = await found.next()
                if items and not take(items):
                    break
                if not items and random.random() < 0.5:
                    position = found.id
    world.settle()
    found, _ = feed(world, world.hubs[0], position)
    async with found:
        idle = 0
        while idle < 3:
            items = await found.next()
            idle = 0 if items else idle + 1
            for item in items:
                got[item.type].append(msgspec.json.decode(item.data)["n"])
    assert got == world.mine()


@settings(max_examples=100, deadline=None)
@given(st.randoms(use_true_random=False))
def test_every_event_comes_once_and_in_order(random: Random) -> None:
    asyncio.run(live(random))


def behind(world: World) -> None:
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
    behind(world)
    feeds = [feed(world, world.hubs[0], "")[0] for _ in range(3)]
    one, two, three = feeds
    assert await one.next()
    assert await two.next()
    # A sign of life and nothing more, as often as it asks.
    for _ in range(5):
        assert await three.next() == []
        assert three.end is None
    async with one:
        pass
    assert await three.next()
    assert len(world.slots) == 2
    for each in (two, three):
        async with each:
            pass
    assert len(world.slots) == 0


async def test_a_client_that_has_caught_up_leaves_its_turn_to_others() -> None:
    world = World(Random(1))
    behind(world)
    feeds = [feed(world, world.hubs[0], "")[0] for _ in range(6)]
    got = [0] * len(feeds)
    while min(got) < 29 * len(STREAMS):
        for number, each in enumerate(feeds):
            got[number] += len(await each.next())
            assert len(world.slots) <= 2
    for each in feeds:
        await each.next()
    assert len(world.slots) == 0


async def test_what_is_in_memory_goes_out_in_parts() -> None:
    world = World(Random(1))
    hub = Hub(FriendIndex(world_friends), seal=plain)
    for stream in STREAMS:
        hub.start_stream(stream, 0)
    found, _ = feed(world, hub, "")
    large = b'{"n":"' + b"x" * 10_000 + b'"}'
    for sequence in range(1, 101):
        hub.publish(
            OutboundEvent(channel="MESSAGING", sequence=sequence, type="t", at=now(), payload_by_user={ME: large})
        )
    sizes: list[int] = []
    while sum(sizes) < 100:
        sizes.append(len(await found.next()))
    assert sum(sizes) == 100
    assert max(sizes) * 10_000 <= SMALL + 10_000


async def test_the_end_of_a_session_has_the_position_before_what_is_not_delivered_any_more() -> None:
    hub = Hub(FriendIndex(world_friends), seal=plain)
    for stream in STREAMS:
        hub.start_stream(stream, 0)
    found, queue = feed(World(Random(1)), hub, "")
    got: list[str] = []

    def take(item: ClientEvent) -> bool:
        got.append(item.id)
        return True

    def end() -> None:
        for sequence in (1, 2, 3):
            if sequence == 3:
                queue.close(CloseReason.SESSION, "logout")
            hub.publish(
                OutboundEvent(channel=MESSAGING, sequence=sequence, type="t", at=now(), payload_by_user={ME: b"{}"})
            )

    found.try_write = take
    async with found:
        assert await found.next() == []
        asyncio.get_running_loop().call_soon(end)
        (ended,) = await found.next()
    assert [Position.decode(each).sequence(MESSAGING) for each in (*got, ended.id)] == [1, 2, 2]


@pytest.mark.parametrize("direct", [True, False])
async def test_an_ephemeral_event_has_no_position_and_moves_none(direct: bool) -> None:
    hub = Hub(FriendIndex(world_friends), seal=plain)
    for stream in STREAMS:
        hub.start_stream(stream, 5)
    position = Position(dict.fromkeys(STREAMS, 5))
    found, _ = feed(World(Random(1)), hub, position.encode())
    written: list[ClientEvent] = []

    def write(item: ClientEvent) -> bool:
        written.append(item)
        return True

    async with found:
        # Not yet attached.
        hub.offer(ME, "typing", b"0")
        assert await found.next() == []
        found.try_write = write if direct else None
        asyncio.get_running_loop().call_soon(hub.offer, ME, "typing", b"1")
        while not written:
            written += await found.next()
        assert written == [ClientEvent("", "typing", b"1")]
        assert Position.decode(found.id) == position


async def world_friends(user_id: str, contact: int) -> Collection[str]:
    return {FRIEND}


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


async def test_a_muted_conversation_notifies_nobody_once_the_mutes_are_loaded_and_holds_up_nothing_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(subscription, "_MUTES_WITHIN", 0.0)
    hub, world = Hub(FriendIndex(world_friends), seal=plain), World(Random(1))
    for stream in STREAMS:
        hub.start_stream(stream, 5)
    world.mutes_fail = 100
    position = Position(dict.fromkeys(STREAMS, 5)).encode()
    found, queue = feed(world, hub, position, notified=True)

    async def notified(count: int) -> list[str]:
        events: list[ClientEvent] = []
        while len(events) < count:
            events += await found.next()
        return [msgspec.json.decode(event.data)["from_user_id"] for event in events]

    async with found:
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
    asked, may_answer = asyncio.Event(), asyncio.Event()

    async def load(messages: Sequence[Quoted], messaging: int) -> QuotedTexts:
        asked.set()
        await may_answer.wait()
        return {OLD: QuotedText("quoted", False)}

    world.quotes = QuoteTexts(load, position=lambda: 0, loaded=hub.quote, patience=60 if answered else 0.01)
    looking_up = asyncio.create_task(world.quotes.run())
    position = Position(dict.fromkeys(STREAMS, 5)).encode()
    found, _ = feed(world, hub, position)
    got: list[tuple[int, object]] = []

    def take(item: ClientEvent) -> bool:
        shown = msgspec.json.decode(item.data)
        got.append((shown["sequence"], shown.get("reply_to", {}).get("text")))
        return True

    async def read() -> None:
        while len(got) < 4:
            for item in await found.next():
                take(item)

    def publish() -> None:
        hub.publish(message(6))
        hub.publish(message(7, reply_to=RepliedTo(message_id=OLD, sequence=1, sender_id=ME)))
        hub.publish(message(8, NEW))
        hub.publish(message(9, reply_to=RepliedTo(message_id=NEW, sequence=8, sender_id=PEER)))

    async with found:
        while not found._attached:
            await found.next()
        found.try_write = take if direct else None
        asyncio.get_running_loop().call_soon(publish)
        reading = asyncio.create_task(read())
        async with asyncio.timeout(60):
            await asked.wait()
            if answered:
                assert [sequence for sequence, _ in got] in ([6], [])
                may_answer.set()
            await reading
    looking_up.cancel()
    # The reply to a message that the gateway has in memory needs no look-up.
    assert got == [(6, None), (7, "quoted" if answered else None), (8, None), (9, "text 8")]


async def test_a_client_that_comes_back_gets_the_text_that_a_reply_in_memory_quotes() -> None:
    hub, world = Hub(FriendIndex(peer_alone), seal=plain), World(Random(1))
    for stream in STREAMS:
        hub.start_stream(stream, 5)
    looking_up = asyncio.create_task(world.quotes.run())
    hub.publish(message(6, reply_to=RepliedTo(message_id=OLD, sequence=1, sender_id=ME)))
    found, _ = feed(world, hub, Position(dict.fromkeys(STREAMS, 5)).encode())
    async with found:
        items: list[ClientEvent] = []
        while not items:
            items = await found.next()
    looking_up.cancel()
    assert msgspec.json.decode(items[0].data)["reply_to"]["text"] == "quoted"
