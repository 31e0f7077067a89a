"""Which sessions have ended while access tokens of theirs are still good: learnt from the stream of sessions.

Nothing is asked on the way of a request, and a token stops working within moments of `session.revoked`.
"""

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import msgspec
from nats.aio.client import Client as NATS

from contracts.events.session import SessionRevoked
from contracts.subjects import SESSION
from services.gateway.following import Follower, from_time
from streams.message import Message

log = logging.getLogger(__name__)
# For clocks that differ.
_MARGIN = 60


class Revocations:
    """The sessions that ended within the life of an access token; what is older needs no remembering."""

    def __init__(
        self, nats: NATS, *, access_token_seconds: int, name: str, clock: Callable[[], float] = time.time
    ) -> None:
        self._life = access_token_seconds + _MARGIN
        self._clock = clock
        # Session id -> when its last token has run out, in the order of that.
        self._ended: dict[str, float] = {}
        self._follower = Follower(nats, SESSION, start=from_time(self._since), handle=self._handle, name=name)

    @property
    def alive(self) -> bool:
        return self._follower.alive

    def __contains__(self, session_id: object, /) -> bool:
        return session_id in self._ended

    def __len__(self) -> int:
        return len(self._ended)

    async def run(self) -> None:
        """Follows the stream until it is cancelled."""
        await self._follower.run()

    def add(self, session_id: str) -> None:
        """Refuses the session's tokens from now on."""
        now = self._clock()
        # Pop first: the order of the map is the order of forgetting.
        self._ended.pop(session_id, None)
        self._ended[session_id] = now + self._life
        self._forget(now)

    def _since(self) -> datetime:
        return datetime.now(UTC) - timedelta(seconds=self._life)

    def _handle(self, message: Message) -> None:
        try:
            envelope = message.envelope()
        except msgspec.DecodeError:
            log.error("event %d of %s cannot be read", message.sequence, message.stream)
            return
        if envelope.type == SessionRevoked.TYPE:
            self.add(envelope.aggregate_id)

    def _forget(self, now: float) -> None:
        while self._ended:
            session_id = next(iter(self._ended))
            if self._ended[session_id] > now:
                return
            del self._ended[session_id]
