"""The streams' last sequences, so that an impossible position is rejected immediately instead of waited for.

A valid position may be ahead of this gateway, after a write through another one. So a position is rejected only on an
answer requested after it arrived; all checks that arrive meanwhile share the next answer. In a cluster the answer may
come from a leader that was cut off, so a rejection also needs evidence of a quorum.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

from contracts.errors import Unavailable
from contracts.notification_kinds import stream_of
from contracts.positions import Position
from streams.jetstream.api import Refused
from streams.jetstream.requests import RequestFailed

# Seconds between two requests for one stream, however many impossible positions arrive.
_PAUSE = 0.05

# Fetches the last sequence of a stream; None if there is no such stream.
LastSequence = Callable[[str], Awaitable[int | None]]


class StreamHeads:
    def __init__(
        self,
        last_sequence: LastSequence,
        *,
        confirm: Callable[[], None] = lambda: None,
        pause: float = _PAUSE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`confirm`: raises if an answer may be older than what the cluster agrees on."""
        self._last_sequence = last_sequence
        self._confirm = confirm
        self._pause = pause
        self._clock = clock
        self._ends: dict[str, _End] = {}

    async def include(self, position: Position, known: Position) -> bool:
        """Whether the streams have reached the position. `known`: what they are known to have reached.

        Raises:
            Unavailable: it cannot be determined at the moment.
        """
        for channel, sequence in position.sequences.items():
            stream = stream_of(channel)
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
            last = await self._last_sequence(stream)
        except (RequestFailed, Refused):
            last = None
        end.unknown = last is None
        if last is not None:
            end.sequence = last
        end.asked_at = asking_at


class _End:
    """The known end of one stream."""

    def __init__(self) -> None:
        self.sequence = 0
        self.asked_at = float("-inf")
        self.unknown = False
        self.lock = asyncio.Lock()
