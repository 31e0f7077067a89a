"""Streams, gateways and read models that move in a random order, and a client's subscription to them."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from random import Random

import msgspec

from contracts.envelope import now
from contracts.errors import Unavailable
from contracts.notification_kinds import stream_of
from contracts.positions import Position
from contracts.subjects import PROFILE
from contracts.values.ids import new_id
from services.gateway.cache.mute_index import MuteIndex
from services.gateway.cache.quote_texts import Quoted, QuotedText, QuotedTexts, QuoteTexts
from services.gateway.live.backfill import EventPage
from services.gateway.live.backfill_slots import BackfillSlots
from services.gateway.live.client_queue import ClientQueue, QueuedEvent
from services.gateway.live.fanout import CHANNELS, STREAMS, OutboundEvent
from services.gateway.live.friend_index import FriendIndex
from services.gateway.live.hub import ChannelPositions, Hub
from services.gateway.live.replay_buffer import ReplayBuffer
from services.gateway.live.subscription import Subscription

ME, FRIEND, STRANGER, OWN_SESSION = new_id(), "friend", "stranger", "session"


def plain(positions: ChannelPositions) -> str:
    return Position(dict(positions)).encode()


class World:
    """The streams, and gateways that have read a part of them."""

    def __init__(self, random: Random, gateways: int = 2) -> None:
        self.random = random
        # The events of each stream, in order.
        self.streams: dict[str, list[OutboundEvent]] = {stream: [] for stream in STREAMS}
        self.hubs = [self._hub() for _ in range(gateways)]
        # No more events happen.
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
        matching = [
            QueuedEvent(channel, outbound.sequence, outbound.type, next(iter(outbound.payload_by_user.values())))
            for outbound in self.streams[channel]
            if after < outbound.sequence <= until and (ME in outbound.payload_by_user or outbound.friends_of in friends)
        ]
        self.move(4)
        page = matching[:size]
        return EventPage(page, until if len(matching) <= size else page[-1].sequence)

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
    subscription = Subscription(
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
    return subscription, queue


async def world_friends(user_id: str, contact: int) -> Collection[str]:
    return {FRIEND}
