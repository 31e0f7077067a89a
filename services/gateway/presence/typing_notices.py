"""Typing: "this user is writing to that one", sent to every gateway and shown for some seconds by the clients.

Nothing of it is stored. A client repeats it while its user goes on writing; the clients of the other user take the
notice away after HOLDS_SECONDS, or when a message arrives.
"""

import time
from collections.abc import Callable

import msgspec

from contracts.errors import NotFriends
from contracts.notification_kinds import TYPING, LiveTyping
from contracts.positions import Position
from contracts.subjects import LIVE_TYPING
from services.gateway.live.delivery import LiveDelivery
from services.gateway.observability.presence_metrics import PresenceMetrics
from services.gateway.presence.gateway_bus import GatewayBus
from services.gateway.security.access_tokens import Principal
from streams.lru_cache import LruCache

# How long a notice holds.
HOLDS_SECONDS = 6
# A repeat from one session to one user within this time is not sent again.
COALESCED_SECONDS = 2.0
# Sessions and users whose last notice is remembered; a forgotten one only costs a message.
_MOST_REMEMBERED = 20_000


class TypingNotice(msgspec.Struct, frozen=True, array_like=True):
    """A notice from one gateway to all: a user is typing."""

    sender_id: str
    recipient_id: str


_DECODER = msgspec.msgpack.Decoder(TypingNotice)


class TypingNotices:
    def __init__(
        self,
        bus: GatewayBus,
        live: LiveDelivery,
        metrics: PresenceMetrics,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._bus = bus
        self._live = live
        self._metrics = metrics
        self._clock = clock
        # When a session last sent a notice to a user.
        self._sent: LruCache[tuple[str, str], float] = LruCache(_MOST_REMEMBERED)

    async def start(self) -> None:
        """Delivers the notices of all gateways from now on."""
        await self._bus.listen(LIVE_TYPING, self._receive)

    async def notify(self, caller: Principal, peer_id: str, seen: Position) -> None:
        """Shows the friend that the caller is writing. `seen`: the caller's position, as in a read.

        Raises:
            NotFriends: the two are not friends.
            Unavailable, ReadModelBehind: whether they are is not known now.
        """
        if peer_id not in await self._live.friends(caller.user_id, seen):
            raise NotFriends
        now, key = self._clock(), (caller.session_id, peer_id)
        last = self._sent.get(key)
        if last is not None and now - last < COALESCED_SECONDS:
            self._metrics.typing.labels("coalesced").inc()
            return
        self._sent.put(key, now)
        sent = await self._bus.send(LIVE_TYPING, msgspec.msgpack.encode(TypingNotice(caller.user_id, peer_id)))
        self._metrics.typing.labels("sent" if sent else "dropped").inc()

    def _receive(self, payload: bytes) -> None:
        notice = _DECODER.decode(payload)
        # A friendship that has ended since: this gateway may have read that first.
        if notice.recipient_id in self._live.friends_here(notice.sender_id):
            self._live.offer(notice.recipient_id, TYPING, msgspec.json.encode(LiveTyping(notice.sender_id)))
