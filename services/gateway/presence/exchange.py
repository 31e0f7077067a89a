"""Tells the other gateways which users are online here, and learns from them who is online there.

Each gateway sends its changes in batches, and a heartbeat every few seconds. A message that is lost shows as a gap in
the numbers and is made good by a snapshot. A gateway that is not heard from for EXPIRES_SECONDS is dead: its users go
offline, unless they have connected elsewhere by then.
"""

import logging
import time
from collections.abc import Callable, Iterable
from typing import Protocol

import msgspec

from contracts.subjects import LIVE_PRESENCE
from contracts.values.ids import new_id
from services.gateway.presence.gateway_bus import GatewayBus
from services.gateway.presence.messages import (
    Changes,
    Heartbeat,
    PresenceMessage,
    Snapshot,
    SnapshotRequest,
    pack,
    unpack,
)
from services.gateway.presence.online_users import OnlineUsers

log = logging.getLogger(__name__)
HEARTBEAT_SECONDS = 5.0
EXPIRES_SECONDS = 15.0
# Between two requests for a snapshot.
_ASK_AGAIN_SECONDS = 1.0
# A gateway that stood still for longer than this between two steps has heard nobody meanwhile.
_PAUSED_SECONDS = 3.0
ALL_GATEWAYS = ""

_DECODER: msgspec.msgpack.Decoder[PresenceMessage] = msgspec.msgpack.Decoder(PresenceMessage)
_encode = msgspec.msgpack.encode


class PresenceListener(Protocol):
    def on_online(self, user_id: str) -> None:
        """The user is online now, and was nowhere before."""

    def on_offline(self, user_id: str, gateway: str, at: float | None) -> None:
        """The user is online nowhere now; the gateway was the last. `at`: Unix time; None: the user hides."""


class _Remote:
    """The state of another gateway, as far as this one knows it."""

    __slots__ = ("asked_at", "heard_at", "number")

    def __init__(self) -> None:
        self.heard_at = 0.0
        # Of the last Changes that were applied; None: a snapshot is needed.
        self.number: int | None = None
        self.asked_at = float("-inf")


class PresenceExchange:
    def __init__(
        self,
        bus: GatewayBus,
        listener: PresenceListener,
        *,
        grace: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`grace`: seconds for which a user is still shown as online after the last connection has gone."""
        self.me = new_id()
        self.online = OnlineUsers()
        self._bus = bus
        self._listener = listener
        self._grace = grace
        self._clock = clock
        self._others: dict[str, _Remote] = {}
        # Users of this gateway, whose state is to be sent: whether they are online, and whether they hide.
        self._here: set[str] = set()
        self._changed: dict[str, bool] = {}
        self._number = 0
        self._snapshot_wanted = False
        self._beat_at = self._stepped_at = self._hearing_since = float("-inf")

    @property
    def gateways(self) -> int:
        """Number of other gateways that are alive."""
        return len(self._others)

    @property
    def is_first(self) -> bool:
        """Whether this is the one gateway that does what one of all has to do."""
        return all(self.me < other for other in self._others)

    def knows(self, gateway: str) -> bool:
        """Whether the gateway lives, as far as this one has heard."""
        return gateway == self.me or gateway in self._others

    def set_online(self, user_id: str) -> None:
        """The user is connected here and may be shown; sent with the next batch."""
        if user_id not in self._here:
            self._here.add(user_id)
            self._changed[user_id] = False

    def set_offline(self, user_id: str, *, hidden: bool) -> None:
        """The user is no longer connected here, or hides."""
        if user_id in self._here:
            self._here.remove(user_id)
            self._changed[user_id] = hidden

    async def start(self) -> None:
        """Receives from now on, and asks all gateways for a snapshot."""
        await self._bus.listen(LIVE_PRESENCE, lambda payload: self.receive(_DECODER.decode(payload)))
        await self._send(SnapshotRequest(ALL_GATEWAYS))

    async def step(self) -> None:
        """Sends what is due, and gives up dead gateways. To be called a few times a second."""
        now = self._clock()
        if not self._bus.connected or now - self._stepped_at > _PAUSED_SECONDS:
            self._hearing_since = now
        self._stepped_at = now
        self._expire(now)
        await self._send_changes()
        if self._snapshot_wanted:
            self._snapshot_wanted = False
            await self._send(Snapshot(self.me, self._number, pack(self.online.at(self.me))))
        if now - self._beat_at >= HEARTBEAT_SECONDS:
            self._beat_at = now
            await self._send(Heartbeat(self.me, self._number))
        for gateway, remote in list(self._others.items()):
            if remote.number is None and now - remote.asked_at >= _ASK_AGAIN_SECONDS:
                remote.asked_at = now
                await self._send(SnapshotRequest(gateway))

    def receive(self, message: PresenceMessage) -> None:
        """Takes a message of a gateway; its own are ignored."""
        if message.gateway == self.me and not isinstance(message, SnapshotRequest):
            return
        match message:
            case SnapshotRequest():
                self._snapshot_wanted |= message.gateway in (self.me, ALL_GATEWAYS)
            case Heartbeat():
                remote = self._remote(message.gateway)
                if remote.number != message.number:
                    remote.number = None
            case Changes():
                remote = self._remote(message.gateway)
                if remote.number is not None and remote.number + 1 == message.number:
                    remote.number = message.number
                    self._apply(message)
                else:
                    remote.number = None
            case Snapshot():
                self._remote(message.gateway).number = message.number
                came, gone = self.online.replace(message.gateway, unpack(message.online))
                self._notify_listener(message.gateway, came, gone, time.time() - self._grace)

    def _remote(self, gateway: str) -> _Remote:
        remote = self._others.setdefault(gateway, _Remote())
        remote.heard_at = self._clock()
        return remote

    def _apply(self, changes: Changes) -> None:
        came = self.online.add(changes.gateway, unpack(changes.online))
        gone = self.online.remove(changes.gateway, unpack(changes.offline))
        self._notify_listener(changes.gateway, came, gone, changes.at)
        self._notify_listener(changes.gateway, (), self.online.remove(changes.gateway, unpack(changes.hidden)), None)

    def _notify_listener(self, gateway: str, came: Iterable[str], gone: Iterable[str], at: float | None) -> None:
        for user_id in came:
            self._listener.on_online(user_id)
        for user_id in gone:
            self._listener.on_offline(user_id, gateway, at)

    def _expire(self, now: float) -> None:
        for gateway, remote in list(self._others.items()):
            silent = now - remote.heard_at
            if min(silent, now - self._hearing_since) <= EXPIRES_SECONDS:
                continue
            log.warning("a gateway was not heard from for %.0f seconds: its users are offline", silent)
            del self._others[gateway]
            self._notify_listener(gateway, (), self.online.forget(gateway), time.time() - silent)

    async def _send_changes(self) -> None:
        if not self._changed:
            return
        changed, self._changed = self._changed, {}
        before = self.online.at(self.me)
        online = [user_id for user_id in changed if user_id in self._here and user_id not in before]
        gone = [user_id for user_id in changed if user_id not in self._here and user_id in before]
        if not online and not gone:
            return
        hidden = [user_id for user_id in gone if changed[user_id]]
        offline = [user_id for user_id in gone if not changed[user_id]]
        # Counted even if it cannot be sent: the others see the gap.
        self._number += 1
        changes = Changes(self.me, self._number, time.time() - self._grace, pack(online), pack(offline), pack(hidden))
        self._apply(changes)
        await self._send(changes)

    async def _send(self, message: PresenceMessage) -> None:
        await self._bus.send(LIVE_PRESENCE, _encode(message))
