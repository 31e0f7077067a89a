"""Presence: who is online, shown to friends who ask, unless one of the two hides.

A user is online while a client is connected to any gateway, and for GRACE_SECONDS after the last has gone, so that a
reconnect shows to nobody. Who hides is shown to no one, not even to other gateways, and sees no one.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Collection

import msgspec

from contracts.errors import VestnikError
from contracts.notification_kinds import LivePresence
from contracts.positions import Position
from contracts.subjects import LIVE_WATCHES
from services.gateway.live.client_queue import ClientQueue
from services.gateway.live.delivery import LiveDelivery
from services.gateway.observability.presence_metrics import PresenceMetrics
from services.gateway.presence.exchange import PresenceExchange
from services.gateway.presence.gateway_bus import GatewayBus
from services.gateway.presence.hidden_users import HiddenUsers
from services.gateway.presence.last_seen import LastSeen
from services.gateway.presence.messages import Watch, pack, unpack
from services.gateway.presence.watches import PresenceWatches
from services.gateway.security.access_tokens import Principal

log = logging.getLogger(__name__)
GRACE_SECONDS = 5.0
# Between two steps: changes are sent to the other gateways in batches.
STEP_SECONDS = 0.25
_PAUSE = 1.0
# Two gateways that a user leaves at the same moment each see the other one last.
_RECENT_SECONDS = 10.0
_WATCH = msgspec.msgpack.Decoder(Watch)


class Presence:
    """One gateway's presence; listens to its live connections."""

    def __init__(
        self,
        bus: GatewayBus,
        live: LiveDelivery,
        hidden: HiddenUsers,
        last_seen: LastSeen,
        metrics: PresenceMetrics,
        *,
        grace: float = GRACE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._bus = bus
        self._live = live
        self._hidden = hidden
        self._last_seen = last_seen
        self._grace = grace
        self._clock = clock
        self._exchange = PresenceExchange(bus, self, grace=grace, clock=clock)
        self._watches = PresenceWatches(
            sees=self._sees_presence,
            is_online=lambda user_id: user_id in self._exchange.online,
            last_seen_at=last_seen.latest,
            metrics=metrics,
        )
        # Users who are connected here: whether they may see others. A new one is absent until that is known.
        self._sees: dict[str, bool] = {}
        # Users whose last client here has gone, and when they count as offline.
        self._leaving: dict[str, float] = {}
        # Users who came or went, or changed whether they hide.
        self._undecided: set[str] = set()
        self._wake = asyncio.Event()
        # Users who went offline here, and when.
        self._left: dict[str, float] = {}
        metrics.users.labels("here").set_function(lambda: len(self._exchange.online.at(self._exchange.me)))
        metrics.users.labels("all").set_function(lambda: len(self._exchange.online))
        metrics.gateways.set_function(lambda: self._exchange.gateways)

    async def run(self) -> None:
        """Tells and learns until cancelled."""
        await self._bus.listen(LIVE_WATCHES, lambda payload: self._watched(_WATCH.decode(payload)))
        await self._exchange.start()
        async with asyncio.TaskGroup() as group:
            for work in (self._step_for_ever(), self._decide_forever(), self._last_seen.run()):
                group.create_task(work)

    async def of(self, caller: Principal, user_ids: Collection[str], seen: Position) -> list[LivePresence]:
        """The presence of those of the users who are friends and do not hide; none if the caller hides.

        From now on the session's clients get events about them, at any gateway.

        Raises:
            VestnikError: who is a friend, or hides, is not known now.
        """
        friends = await self._live.friends(caller.user_id, seen)
        asked = [user_id for user_id in dict.fromkeys(user_ids) if user_id in friends]
        hidden = await self._hidden.among([caller.user_id, *asked])
        visible = [] if caller.user_id in hidden else [user_id for user_id in asked if user_id not in hidden]
        last_seen = await self._last_seen.read([user for user in visible if user not in self._exchange.online])
        # No await from here on: events follow what the answer says.
        answered = {user_id: user_id in visible and user_id in self._exchange.online for user_id in asked}
        self._watches.watch(caller.user_id, caller.session_id, answered)
        await self._bus.send(LIVE_WATCHES, msgspec.msgpack.encode(self._watch(caller, answered)))
        return [
            LivePresence(user_id, True)
            if answered[user_id]
            else LivePresence(
                user_id, False, last_seen.get(user_id) or self._last_seen.latest(user_id) or msgspec.UNSET
            )
            for user_id in visible
        ]

    # ConnectionListener

    def on_connect(self, client: ClientQueue) -> None:
        if self._watches.connect(client):
            self._leaving.pop(client.user_id, None)
            self._decide(client.user_id)

    def on_attach(self, client: ClientQueue) -> None:
        self._watches.catch_up(client)

    def on_disconnect(self, client: ClientQueue) -> None:
        if self._watches.disconnect(client):
            self._sees.pop(client.user_id, None)
            self._leaving[client.user_id] = self._clock() + self._grace

    def on_settings(self, user_id: str, hidden: bool) -> None:
        self._hidden.changed(user_id, hidden)
        if hidden:
            self._last_seen.hide(user_id, remove=self._exchange.is_first)
        if self._watches.is_connected(user_id):
            self._sees[user_id] = not hidden
            self._watches.changed_for(user_id)
            self._decide(user_id)
        elif user_id in self._leaving:
            self._decide(user_id)

    def on_friendship_removed(self, user_id: str, other_id: str) -> None:
        self._watches.drop(user_id, other_id)
        self._watches.drop(other_id, user_id)

    # PresenceListener

    def on_online(self, user_id: str) -> None:
        self._last_seen.set_online(user_id)
        self._watches.changed(user_id, self._live.friends_here(user_id))

    def on_offline(self, user_id: str, gateway: str, at: float | None) -> None:
        if at is not None:
            dead = not self._exchange.knows(gateway)
            write = user_id in self._left or (dead and self._exchange.is_first)
            self._last_seen.set_offline(user_id, at, write=write)
        self._watches.changed(user_id, self._live.friends_here(user_id))

    def _sees_presence(self, user_id: str, person: str) -> bool | None:
        sees = self._sees.get(user_id)
        return sees and user_id in self._live.friends_here(person) and not self._hidden.known(person)

    def _watch(self, caller: Principal, answered: dict[str, bool]) -> Watch:
        online = pack(user_id for user_id, state in answered.items() if state)
        offline = pack(user_id for user_id, state in answered.items() if not state)
        return Watch(self._exchange.me, caller.user_id, caller.session_id, online, offline)

    def _watched(self, watch: Watch) -> None:
        if watch.gateway == self._exchange.me:
            return
        answered = dict.fromkeys(unpack(watch.online), True) | dict.fromkeys(unpack(watch.offline), False)
        self._watches.watch(watch.user_id, watch.session_id, answered)

    def _decide(self, user_id: str) -> None:
        self._undecided.add(user_id)
        self._wake.set()

    async def _decide_forever(self) -> None:
        """Decides, until cancelled, whether users who connected, left or changed their settings are shown as online."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            users, self._undecided = self._undecided, set()
            try:
                hidden = await self._hidden.among(users)
            except VestnikError as error:
                log.info("who hides cannot be loaded, so new users are not shown as online: %s", error)
                self._undecided |= users
                await asyncio.sleep(_PAUSE)
                self._wake.set()
                continue
            for user_id in users:
                self._set_state(user_id, user_id in hidden)

    def _set_state(self, user_id: str, hidden: bool) -> None:
        if not hidden and (self._watches.is_connected(user_id) or user_id in self._leaving):
            self._exchange.set_online(user_id)
            self._last_seen.keep(user_id)
            self._left.pop(user_id, None)
        else:
            if not hidden:
                self._left[user_id] = self._clock()
            self._exchange.set_offline(user_id, hidden=hidden)
            self._last_seen.release(user_id)
        if self._watches.is_connected(user_id):
            self._sees[user_id] = not hidden
            self._watches.changed_for(user_id)

    async def _step_for_ever(self) -> None:
        while True:
            now = self._clock()
            for user_id in [user_id for user_id, at in self._leaving.items() if at <= now]:
                del self._leaving[user_id]
                self._decide(user_id)
            for user_id in [user_id for user_id, at in self._left.items() if now - at > _RECENT_SECONDS]:
                del self._left[user_id]
            await self._exchange.step()
            self._watches.catch_up_all()
            await asyncio.sleep(STEP_SECONDS)
