"""Clients of two gateways follow their events, and reconnect with the position of the last event that they have."""

import asyncio
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import partial
from itertools import count
from types import SimpleNamespace
from typing import Any, ClassVar, cast
from unittest.mock import patch
from uuid import UUID

import msgspec
from prometheus_client import CollectorRegistry

from contracts.envelope import Provenance, encode, seal
from contracts.errors import VestnikError
from contracts.events.event import Event
from contracts.events.friendship import FriendshipCreated
from contracts.events.message import MessageSent
from contracts.events.profile import ProfileUpdated
from contracts.events.session import SessionRevoked
from contracts.positions import Position
from contracts.subjects import CONTACT, MESSAGING, PROFILE, SESSION
from services.gateway.consistency.stream_follower import StreamFollower, from_end
from services.gateway.live import client_queue, delivery, subscription
from services.gateway.live.backfill import Backfill
from services.gateway.live.client_queue import CloseReason
from services.gateway.live.delivery import LiveDelivery
from services.gateway.live.fanout import CHANNELS, STREAMS
from services.gateway.live.hub import Hub
from services.gateway.live.profile_updates import ProfileUpdates
from services.gateway.live.replay_buffer import ReplayBuffer
from services.gateway.live.subscription import ClientEvent, Subscription
from services.gateway.observability.live_metrics import LiveMetrics
from services.gateway.security.access_tokens import Principal
from streams.jetstream.client import Client
from tests.simulation.nats.clients import connect
from tests.simulation.nats.server import NatsServer
from tests.simulation.network import Network
from tests.simulation.virtual_loop import VirtualLoop
from tests.simulation.world import Weighted, World
from tests.simulation.worlds.owners import LiveEvent, Owners

_SUBJECTS = {
    SESSION: "vestnik.session.session",
    CONTACT: "vestnik.contact.friendship",
    PROFILE: "vestnik.profile.profile",
    MESSAGING: "vestnik.messaging.conversation",
}
_ANNA, _BEN, _CLEO = (str(UUID(int=number)) for number in range(3))
_FRIENDS = {_ANNA: [_BEN, _CLEO], _BEN: [_ANNA], _CLEO: [_ANNA]}
# Sizes small enough for a run to exceed them.
_BUFFERED, _QUEUED, _UPDATES, _PAGE, _FEW = 12, 20, 8, 5, 6
# Seconds after which the effects of every fault are over, and within which every client then has its events.
_HEALED, _CATCH_UP_SECONDS = 25.0, 20.0
_NEVER = 1e12


class Sealed:
    """Positions as readable text."""

    def seal_sequences(self, sequences: Mapping[str, int]) -> str:
        return msgspec.json.encode(sequences).decode()

    def open(self, text: str) -> Position:
        return Position(msgspec.json.decode(text) if text else {})


class Gateway:
    def __init__(self, nats: Client, owners: Owners) -> None:
        self._nats = nats
        self._owners = owners
        self.restart()

    def restart(self) -> None:
        """Another process, which knows nothing of the events before."""
        keys: Any = SimpleNamespace(generation=0, reload_if_changed=lambda: None, find=lambda _: True)
        revocations: Any = SimpleNamespace(watch_session=lambda *_: nullcontext())
        self.live = LiveDelivery(
            self._nats,
            self._owners.clients,
            self._owners.profiles,
            revocations=revocations,
            session_seconds=0.0,
            metrics=LiveMetrics(CollectorRegistry()),
            keys=keys,
            sealed=cast(Any, Sealed()),
            heartbeat=2.0,
        )
        followers = [
            StreamFollower(self._nats, stream, start=from_end, name=f"live-{stream.lower()}")
            for stream in (SESSION, PROFILE)
        ]
        for follower in followers:
            follower.listener = self.live
        self._tasks = [
            asyncio.create_task(run)
            for run in (self.live.run(), *[stream_follower.run() for stream_follower in followers])
        ]

    def stop(self) -> None:
        self.live.stop()
        for task in self._tasks:
            task.cancel()

    def check(self) -> None:
        for task in self._tasks:
            assert not task.done(), repr(task.exception())


class ClientOfUser:
    """A client with one connection at a time; what it has received, and the position that it would resume from."""

    def __init__(self, user_id: str, *, notified: bool, rng: random.Random, gateways: list[Gateway]) -> None:
        self.user_id = user_id
        self.notified = notified
        self._rng = rng
        self._gateways = gateways
        self._principal = Principal(user_id=user_id, session_id="own", expires_at=_NEVER, key_id="key")
        self.received: list[tuple[str, bytes]] = []
        self.start: dict[str, int] | None = None
        self.since = ""
        # Whether it still gets what the gateway sends.
        self._hears = False
        self._connection: asyncio.Task[None] | None = None
        self._subscription: Subscription | None = None

    async def run(self) -> None:
        while True:
            self._connection = asyncio.create_task(self._connect())
            await asyncio.wait([self._connection])
            error = None if self._connection.cancelled() else self._connection.exception()
            if error is not None and not isinstance(error, VestnikError):
                raise error
            await asyncio.sleep(self._rng.random() * 0.5)

    def disconnect(self) -> None:
        """The connection is lost: the gateway notices by the next write, or cancels what it awaits."""
        self._hears = False
        if self._rng.random() < 0.5 and self._subscription is not None:
            self._subscription.give_up(CloseReason.DISCONNECTED)
        elif self._connection is not None:
            self._connection.cancel()

    async def _connect(self) -> None:
        live = self._rng.choice(self._gateways).live
        request = await live.prepare(self._principal, self.since, Position(), notified=self.notified)
        self._hears = True
        try:
            async with live.subscribe(request, "sse") as feed:
                self._subscription = feed
                if self._rng.random() < 0.7:
                    feed.try_write = self._take_now
                self._reach(feed.id)
                while feed.end is None:
                    items = await feed.next()
                    if feed.end is not None:
                        return
                    for item in items:
                        await asyncio.sleep(self._rng.choice((0.0, 0.0, 0.001, 0.02)))
                        self._take(item)
                    if not items:
                        self._reach(feed.id)
        finally:
            self._subscription = None

    def _take_now(self, item: ClientEvent) -> bool:
        if self._rng.random() < 0.2:
            return False
        self._take(item)
        return True

    def _take(self, item: ClientEvent) -> None:
        if self._hears:
            self.received.append((item.type, item.data))
            self._reach(item.id)

    def _reach(self, position: str) -> None:
        if self._hears and position:
            self.since = position
            if self.start is None:
                self.start = msgspec.json.decode(position)

    def check(self, owners: Owners) -> None:
        """Every event since the first position was received once, in the order of its channel."""
        if self.start is None:
            return
        channels = CHANNELS if self.notified else STREAMS
        for channel in channels:
            expected = [event for event in owners.events(self.user_id, channel) if event.sequence > self.start[channel]]
            sequence_of = {(event.type, event.data): event.sequence for event in expected}
            received = [sequence_of[key] for key in self.received if key in sequence_of]
            sequences = [event.sequence for event in expected]
            if channel == PROFILE:
                # The read model has the last update of each profile only.
                sequences = sorted(set(received) | set(_last(expected)))
            assert received == sequences, f"{self.user_id} in {channel}: got {received} of {sequences}"
        every = {(event.type, event.data) for channel in channels for event in owners.events(self.user_id, channel)}
        assert every.issuperset(self.received), "an event of another user"


class Live(World):
    def __init__(self, loop: VirtualLoop, rng: random.Random) -> None:
        super().__init__(loop, rng)
        self._network = Network(loop, rng)
        streams = {stream: subject.rpartition(".")[0] + "." for stream, subject in _SUBJECTS.items()}
        self._nats = NatsServer(self._network, streams, replicated=rng.random() < 0.5)
        self._owners = Owners(loop, rng, self._nats, _FRIENDS)
        self._gateways: list[Gateway] = []
        self.clients: list[ClientOfUser] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._numbers = count(1)

    @contextmanager
    def patched(self) -> Iterator[None]:
        with (
            patch.object(delivery, "Hub", partial(Hub, recent=lambda: ReplayBuffer(most=_BUFFERED))),
            patch.object(delivery, "Backfill", partial(Backfill, page=_PAGE)),
            patch.object(delivery, "ProfileUpdates", partial(ProfileUpdates, most=_UPDATES)),
            patch.object(client_queue, "MOST", _QUEUED),
            patch.object(subscription, "_FEW", _FEW),
        ):
            yield

    async def start(self) -> None:
        self._tasks.append(self._loop.create_task(self._owners.run()))
        for number in range(2):
            self._gateways.append(Gateway(await connect(f"gateway-{number}"), self._owners))
        for user_id in (_ANNA, _ANNA, _BEN, _CLEO):
            client = ClientOfUser(
                user_id,
                notified=self._rng.random() < 0.3,
                rng=random.Random(self._rng.random()),
                gateways=self._gateways,
            )
            self.clients.append(client)
            self._tasks.append(self._loop.create_task(client.run()))

    def write(self) -> None:
        for _ in range(self._rng.randint(1, 5)):
            self._write()

    def write_much(self) -> None:
        """More than a buffer and a client's queue hold."""
        for _ in range(self._rng.randint(20, 60)):
            self._write()

    def _write(self) -> None:
        number = next(self._numbers)
        one, other = self._rng.choice(((_ANNA, _BEN), (_BEN, _ANNA), (_CLEO, _ANNA)))
        message = MessageSent(
            message_id=f"message-{number}",
            sender_id=one,
            recipient_id=other,
            sequence=number,
            text="text",
            client_message_id=str(number),
        )
        choices: list[tuple[str, str, Event]] = [
            (MESSAGING, f"{one}-{other}", message),
            (MESSAGING, f"{one}-{other}", message),
            (CONTACT, str(number), FriendshipCreated(requester_id=one, addressee_id=f"stranger-{number}")),
            (PROFILE, one, ProfileUpdated(display_name=one, bio=str(number))),
            (SESSION, f"session-{number}", SessionRevoked(user_id=one, reason="logout")),
        ]
        stream, aggregate, event = self._rng.choice(choices)
        envelope = seal(event, aggregate_id=aggregate, version=number, provenance=Provenance())
        self._nats.store(stream, f"{_SUBJECTS[stream]}.{aggregate}", encode(envelope), {"Nats-Msg-Id": envelope.id})

    def disconnect(self) -> None:
        self._rng.choice(self.clients).disconnect()

    def restart(self) -> None:
        gateway = self._rng.choice(self._gateways)
        gateway.stop()
        gateway.restart()

    def lag(self) -> None:
        self._owners.lag(self._outage())

    def fail(self) -> None:
        self._owners.fail(self._outage())

    def cut(self) -> None:
        self._network.cut("nats")

    def silence(self) -> None:
        self._network.silence("nats", self._outage())

    def step_down(self) -> None:
        self._nats.step_down(self._outage())

    def crash(self) -> None:
        if self._nats.running:
            self._nats.crash()
            self._loop.call_later(self._outage(), self._nats.start)

    async def check(self) -> None:
        """After all faults every client has every event once."""
        await asyncio.sleep(_HEALED)
        self.write()
        await asyncio.sleep(_CATCH_UP_SECONDS)
        for task in self._tasks:
            if task.done():
                task.result()
        for gateway in self._gateways:
            gateway.check()
        for client in self.clients:
            client.check(self._owners)

    ACTIONS: ClassVar[tuple[Weighted, ...]] = (
        (8, write),
        (2, write_much),
        (6, disconnect),
        (1, restart),
        (1, lag),
        (1, fail),
        (0.7, cut),
        (0.4, silence),
        (0.7, step_down),
        (0.5, crash),
    )


def _last(events: list[LiveEvent]) -> list[int]:
    """The sequence of each profile's last update."""
    last = {msgspec.json.decode(event.data)["user_id"]: event.sequence for event in events}
    return list(last.values())
