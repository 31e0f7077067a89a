"""What waits for one client, within a bound: a client that takes too slowly is ended, and holds up nobody."""

import asyncio
from collections import deque
from collections.abc import Callable
from enum import StrEnum

import msgspec

# Events, and bytes of them, that wait for one client.
MOST = 512
MOST_BYTES = 512 * 1024


class CloseReason(StrEnum):
    """Why a client's events end here; in every case it may come back with its position."""

    SESSION = "session ended"
    SESSION_UNKNOWN = "session out of sight"
    KEY = "key not trusted"
    SLOW = "too slow"
    STOPPING = "gateway stops"
    RESTART = "begin anew"
    DISCONNECTED = "client gone"
    FAILED = "internal error"


class QueuedEvent(msgspec.Struct, frozen=True):
    """An event for one client."""

    channel: str
    sequence: int
    type: str
    # A JSON object.
    data: bytes
    # The other person of the conversation that it is about.
    peer: str = ""


class ClientQueue:
    """One client's events between the hub and the client's own task."""

    __slots__ = (
        "_bytes",
        "_timer",
        "_waiter",
        "_waiting",
        "at_once",
        "end",
        "expires_at",
        "notified",
        "reason",
        "session_id",
        "user_id",
    )

    def __init__(self, user_id: str, session_id: str, *, notified: bool, expires_at: float) -> None:
        self.user_id = user_id
        self.session_id = session_id
        # Whether the client wants notifications too.
        self.notified = notified
        # Unix time: when the session runs out, as far as is known.
        self.expires_at = expires_at
        # Set: after what waits comes nothing more.
        self.end: CloseReason | None = None
        # Hands an event to the client by itself while its task rests, and says whether it could; it must not fail.
        self.at_once: Callable[[QueuedEvent], bool] | None = None
        # Why the session ended, where that is the end.
        self.reason = ""
        self._waiting: deque[QueuedEvent] = deque()
        self._bytes = 0
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, event: QueuedEvent) -> None:
        """Never waits: where the client has not taken enough, this is its end."""
        if self.end is not None:
            return
        if self.at_once is not None and not self._waiting and self.at_once(event):
            return
        if len(self._waiting) >= MOST or self._bytes + len(event.data) > MOST_BYTES:
            self.close(CloseReason.SLOW)
            return
        self._waiting.append(event)
        self._bytes += len(event.data)
        self.wake()

    def close(self, end: CloseReason, reason: str = "") -> None:
        """Nothing more is taken in; what is said first stands. `reason`: why the session ended."""
        if self.end is None:
            self.end = end
            self.reason = reason
            self.wake()

    def drain(self) -> list[QueuedEvent]:
        """Everything that waits."""
        taken = list(self._waiting)
        self._waiting.clear()
        self._bytes = 0
        return taken

    async def wait(self, seconds: float) -> None:
        """Returns when there is something to take, or the end, or the time is over. For one task alone."""
        if self._waiting or self.end is not None:
            return
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        self._timer = loop.call_later(max(seconds, 0.0), self.wake)
        try:
            await self._waiter
        finally:
            self._timer.cancel()
            self._waiter = self._timer = None

    def wake(self) -> None:
        """Ends the wait of the client's task, if it waits."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
