"""Messages from gateway to gateway over plain NATS: stored nowhere, and lost while there is no connection."""

import logging
from collections.abc import Callable

from nats.aio.client import Client as NATS
from nats.errors import Error as NatsError

from services.gateway.observability.presence_metrics import PresenceMetrics
from streams.jetstream.client import subscribe_direct
from streams.jetstream.raw_message import Delivered

log = logging.getLogger(__name__)


class GatewayBus:
    """Sends to all gateways, this one included, and receives from them, in each sender's order."""

    def __init__(self, nats: NATS, metrics: PresenceMetrics) -> None:
        self._nats = nats
        self._metrics = metrics

    @property
    def connected(self) -> bool:
        return self._nats.is_connected

    async def listen(self, subject: str, take: Callable[[bytes], None]) -> None:
        """Calls `take` with each message of the subject from now on; it must be fast."""

        def receive(message: Delivered) -> None:
            try:
                take(message.data)
            except Exception:
                # The edge: one message, of a newer release or broken, must not end the connection to NATS.
                log.exception("a message on %s cannot be handled", subject)

        await subscribe_direct(self._nats, subject, receive, headers=False)

    async def send(self, subject: str, payload: bytes) -> bool:
        """Sends without waiting for a receiver; false if there is no connection."""
        if not self._nats.is_connected:
            return False
        try:
            await self._nats.publish(subject, payload)
        except NatsError as error:
            log.info("a message on %s could not be sent: %s", subject, error)
            return False
        self._metrics.sent(subject.rpartition(".")[2], len(payload))
        return True
