"""How far the streams go, so that a position that cannot be is refused at once, and nobody waits for it.

A true position may be ahead of all that this gateway has heard: of a write through another gateway a moment ago. So
nothing is refused on an answer that is older than the question; but all who ask meanwhile share the next answer. In a
cluster that answer may be of a leader that was cut off, so that a refusal also needs evidence of a quorum.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

from nats.aio.client import Client as NATS
from nats.errors import Error as NatsError

from contracts.errors import Unavailable
from contracts.notification_kinds import NOTIFIED_CONTACT, NOTIFIED_MESSAGING
from contracts.positions import Position
from contracts.subjects import CONTACT, MESSAGING

# Seconds between two questions about one stream, however many positions are made up.
_PAUSE = 0.05
_TIMEOUT = 2.0
# Places of notifications are places in the streams of what they tell of.
_STREAM_OF = {NOTIFIED_CONTACT: CONTACT, NOTIFIED_MESSAGING: MESSAGING}

# The last sequence of a stream.
Ask = Callable[[str], Awaitable[int]]


class StreamHeads:
    def __init__(
        self,
        ask: Ask,
        *,
        confirm: Callable[[], None] = lambda: None,
        pause: float = _PAUSE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`confirm`: raises where an answer may be older than what the cluster agrees on."""
        self._ask = ask
        self._confirm = confirm
        self._pause = pause
        self._clock = clock
        self._ends: dict[str, _End] = {}

    async def include(self, position: Position, known: Position) -> bool:
        """Whether the streams go as far as the position. `known`: how far they go in any case.

        Raises:
            Unavailable: it cannot be known just now.
        """
        for channel, sequence in position.sequences.items():
            stream = _STREAM_OF.get(channel, channel)
            if sequence > known.sequence(stream) and not await self._is_reached(stream, sequence):
                self._confirm()
                return False
        return True

    async def _is_reached(self, stream: str, sequence: int) -> bool:
        end = self._ends.setdefault(stream, _End())
        if sequence <= end.sequence:
            return True
        came = self._clock()
        async with end.lock:
            if end.asked_at <= came:
                await self._renew(stream, end)
            if end.unknown:
                raise Unavailable(retry_after=1)
            return sequence <= end.sequence

    async def _renew(self, stream: str, end: "_End") -> None:
        await asyncio.sleep(max(0.0, end.asked_at + self._pause - self._clock()))
        asking_at = self._clock()
        try:
            end.sequence = await self._ask(stream)
            end.unknown = False
        except (NatsError, TimeoutError):
            end.unknown = True
        end.asked_at = asking_at


class _End:
    """What is known of one stream."""

    def __init__(self) -> None:
        self.sequence = 0
        self.asked_at = float("-inf")
        self.unknown = False
        self.lock = asyncio.Lock()


def fetch_from(nats: NATS) -> Ask:
    """Asks JetStream, which answers for its leader."""
    context = nats.jetstream(timeout=_TIMEOUT)

    async def ask(stream: str) -> int:
        return int((await context.stream_info(stream)).state.last_seq)

    return ask
