"""Drafts: what a user has just saved, sent to every gateway and shown to that user's other clients.

Best effort: a client that misses a notice finds the draft in the list of conversations.
"""

import msgspec

from contracts.events.message import ConversationUpdated
from contracts.subjects import LIVE_DRAFT
from services.gateway.live.delivery import LiveDelivery
from services.gateway.presence.gateway_bus import GatewayBus


class DraftNotice(msgspec.Struct, frozen=True, array_like=True):
    """A notice from one gateway to all: the change of a user's draft."""

    user_id: str
    # A `LiveConversation` as JSON.
    data: bytes


_DECODER = msgspec.msgpack.Decoder(DraftNotice)


class DraftNotices:
    def __init__(self, bus: GatewayBus, live: LiveDelivery) -> None:
        self._bus = bus
        self._live = live

    async def start(self) -> None:
        """Delivers the notices of all gateways from now on."""
        await self._bus.listen(LIVE_DRAFT, self._receive)

    async def send(self, user_id: str, data: bytes) -> None:
        """Shows the user's clients, wherever they are connected, a draft that was saved."""
        await self._bus.send(LIVE_DRAFT, msgspec.msgpack.encode(DraftNotice(user_id, data)))

    def _receive(self, payload: bytes) -> None:
        notice = _DECODER.decode(payload)
        self._live.offer(notice.user_id, ConversationUpdated.TYPE, notice.data)
