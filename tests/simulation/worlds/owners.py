"""The services that own the events, as the gateway asks them: answers from read models that lag, and failures."""

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Iterator
from types import SimpleNamespace
from typing import Any

import msgspec

from contracts.envelope import Recorded
from contracts.errors import DeadlineExceeded, ReadModelBehind, Unavailable
from contracts.events.event import Event
from contracts.events.profile import ProfileUpdated
from contracts.notification_kinds import NOTIFICATION_CHANNELS, stream_of
from contracts.rpc.vestnik.contact.v1 import Relation
from contracts.subjects import CONTACT, MESSAGING, PROFILE, SESSION
from infra.rpc.call_context import Call
from services.gateway.live.fanout import STREAMS, fan_out
from services.gateway.live.profile_updates import _completed, _Unchanged
from streams.message import Message
from tests.simulation.nats.server import NatsServer
from tests.simulation.virtual_loop import VirtualLoop

# Seconds: how often a read model applies events, how long a request waits for it, and how long an answer takes.
_APPLIES, _WAITS, _ANSWERS = 0.05, 5.0, 0.02
_ABOUT_ALL = _Unchanged(username="name", verified=False)


class LiveEvent(msgspec.Struct, frozen=True):
    """An event as one user's clients receive it."""

    channel: str
    sequence: int
    type: str
    data: bytes


class Owners:
    """Every service that owns events, with the friends of each user."""

    def __init__(self, loop: VirtualLoop, rng: random.Random, nats: NatsServer, friends: dict[str, list[str]]) -> None:
        self._loop = loop
        self._rng = rng
        self._nats = nats
        self._friends = friends
        self._applied = dict.fromkeys(STREAMS, 0)
        self._lags_until = self._fails_until = 0.0
        self._opened: dict[tuple[str, int], Recorded[Event]] = {}
        self.clients: Any = SimpleNamespace(
            session=self._remote(backfill=lambda request: self._of(request.user_id, SESSION)),
            contact=self._remote(
                backfill=lambda request: self._of(request.user_id, CONTACT),
                get_friends=self._get_friends,
                is_friend=lambda _: SimpleNamespace(relation=Relation.FRIENDS),
            ),
            profile=self._remote(backfill=self._profiles),
            messaging=self._remote(
                backfill=lambda request: self._of(request.user_id, MESSAGING),
                backfill_notifications=lambda request: self._notifications(request.user_id, request.stream),
                list_mutes=lambda _: SimpleNamespace(mutes=[]),
            ),
        )
        self.profiles: Any = SimpleNamespace(get=self._profile)

    def lag(self, seconds: float) -> None:
        """The read models apply nothing for some time."""
        self._lags_until = self._loop.now + seconds

    def fail(self, seconds: float) -> None:
        """The services answer with errors for some time, also amid an answer."""
        self._fails_until = self._loop.now + seconds

    async def run(self) -> None:
        while True:
            await asyncio.sleep(_APPLIES)
            if self._loop.now >= self._lags_until:
                self._applied = {stream: self._nats.streams[stream].end for stream in STREAMS}

    def events(self, user_id: str, channel: str, until: int | None = None) -> Iterator[LiveEvent]:
        """The user's events of a channel, up to a sequence of its stream."""
        for recorded in self._recorded(stream_of(channel), until):
            if isinstance(recorded.data, ProfileUpdated):
                if recorded.aggregate_id in self._friends[user_id]:
                    yield LiveEvent(PROFILE, recorded.sequence, recorded.type, _completed(recorded, _ABOUT_ALL))
                continue
            for outbound in fan_out(recorded):
                if outbound.channel == channel and user_id in outbound.payload_by_user:
                    data = outbound.payload_by_user[user_id]
                    yield LiveEvent(channel, outbound.sequence, outbound.type, data)

    def _recorded(self, stream: str, until: int | None) -> Iterator[Recorded[Event]]:
        for stored in self._nats.streams[stream].messages[:until]:
            key = stream, stored.sequence
            if key not in self._opened:
                self._opened[key] = Message(stream, stored.sequence, stored.subject, stored.data).open()
            yield self._opened[key]

    def _remote(self, **methods: Callable[[Any], Any]) -> Any:  # noqa: ANN401 - in place of a service's client
        return SimpleNamespace(stub=SimpleNamespace(**methods), read=self._read, stream=self._stream)

    async def _read(self, method: Callable[[Any], Any], request: object, *, context: Call) -> Any:  # noqa: ANN401
        await self._wait(context)
        return method(request)

    async def _stream(self, method: Callable[[Any], Any], request: Any, call: Call) -> AsyncGenerator[Any, None]:  # noqa: ANN401
        await self._wait(call)
        events = [event for event in method(request) if event.sequence > request.after][: request.limit]
        for event in events:
            if self._loop.now < self._fails_until and self._rng.random() < 0.2:
                raise Unavailable
            if self._rng.random() < 0.1:
                await asyncio.sleep(self._rng.random() * _ANSWERS)
            yield event

    async def _wait(self, call: Call) -> None:
        """Waits until the read model has the position of the call."""
        await asyncio.sleep(self._rng.random() * _ANSWERS)
        if self._loop.now < self._fails_until:
            await asyncio.sleep(self._rng.random())
            raise self._rng.choice((Unavailable, DeadlineExceeded))
        deadline = self._loop.now + _WAITS
        while any(self._applied[stream] < sequence for stream, sequence in call.position.sequences.items()):
            if self._loop.now > deadline:
                raise ReadModelBehind
            await asyncio.sleep(_APPLIES)

    async def _profile(self, _: str, call: Call) -> Any:  # noqa: ANN401 - in place of a cached profile
        await self._wait(call)
        return SimpleNamespace(body=msgspec.json.encode(_ABOUT_ALL))

    def _get_friends(self, request: Any) -> Any:  # noqa: ANN401 - of a generated type
        return SimpleNamespace(
            friends=[SimpleNamespace(user_id=user) for user in self._friends[request.user_id]], next=""
        )

    def _of(self, user_id: str, channel: str) -> list[LiveEvent]:
        return list(self.events(user_id, channel, self._applied[stream_of(channel)]))

    def _notifications(self, user_id: str, stream: str) -> list[LiveEvent]:
        channel = next(channel for channel, source in NOTIFICATION_CHANNELS.items() if source == stream)
        return self._of(user_id, channel)

    def _profiles(self, request: Any) -> list[LiveEvent]:  # noqa: ANN401 - of a generated type
        """The last update of each profile, as the read model has it."""
        last: dict[str, LiveEvent] = {}
        for recorded in self._recorded(PROFILE, self._applied[PROFILE]):
            if recorded.aggregate_id in request.user_ids:
                data = _completed(recorded, _ABOUT_ALL)
                last[recorded.aggregate_id] = LiveEvent(PROFILE, recorded.sequence, recorded.type, data)
        return sorted(last.values(), key=lambda event: event.sequence)
