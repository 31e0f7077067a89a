"""Bounded queue of one client's events; a slow consumer is closed and delays no other client."""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from enum import StrEnum

import msgspec

from services.gateway.cache.quote_texts import Quoted

# Events queued for one client, and the bytes of their data.
MOST = 512
MOST_BYTES = 512 * 1024
# Above this number of queued events, ephemeral ones are discarded.
MOST_BEFORE_EPHEMERAL = 128
# The channel of ephemeral events: of no stream, without a position, not resumed.
EPHEMERAL = ""


class CloseReason(StrEnum):
    """Why a client's events end here; in every case the client may reconnect with its position."""

    SESSION = "session ended"
    SESSION_UNKNOWN = "session stream unreachable"
    KEY = "key not trusted"
    SLOW = "too slow"
    STOPPING = "gateway stops"
    RESTART = "reconnect needed"
    DISCONNECTED = "client gone"
    FAILED = "internal error"


class QueuedEvent(msgspec.Struct, frozen=True):
    """An event for one client."""

    channel: str
    sequence: int
    type: str
    # A JSON object.
    data: bytes
    # The other user of the conversation that it is about.
    peer: str = ""
    # The message that it answers, if the data does not have the text of that.
    quoted: Quoted | None = None


class ClientQueue:
    """Queue of one client's events between the hub and the client's own task."""

    __slots__ = (
        "_bytes",
        "_timer",
        "_waiter",
        "_waiting",
        "at_once",
        "attached",
        "end",
        "expires_at",
        "muted",
        "notified",
        "reason",
        "session_id",
        "user_id",
    )

    def __init__(self, user_id: str, session_id: str, *, notified: bool, expires_at: float) -> None:
        self.user_id = user_id
        self.session_id = session_id
        # Whether the client also receives notifications.
        self.notified = notified
        # By the other person: until when the user has muted the conversation, as Unix time; for `notified` clients.
        self.muted: Mapping[str, float] = {}
        # Unix time at which the session expires, as far as known.
        self.expires_at = expires_at
        # Whether the client has caught up, so that live events go to the queue.
        self.attached = False
        # Set when closed: nothing follows what is queued.
        self.end: CloseReason | None = None
        # Delivers an event while the client's task is idle; returns whether it did; must not raise.
        self.at_once: Callable[[QueuedEvent], bool] | None = None
        # Why the session ended, if that closed the queue.
        self.reason = ""
        self._waiting: deque[QueuedEvent] = deque()
        self._bytes = 0
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, event: QueuedEvent) -> None:
        """Queues or delivers the event without waiting; closes the queue if it is full."""
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

    def offer(self, type_: str, data: bytes) -> bool:
        """Queues or delivers an ephemeral event, unless the client lags; returns whether it did."""
        full = len(self._waiting) >= MOST_BEFORE_EPHEMERAL or self._bytes + len(data) > MOST_BYTES
        if full or not self.attached or self.end is not None:
            return False
        self.put(QueuedEvent(EPHEMERAL, 0, type_, data))
        return True

    def close(self, end: CloseReason, reason: str = "") -> None:
        """Closes the queue; only the first call counts. `reason`: why the session ended."""
        if self.end is None:
            self.end = end
            self.reason = reason
            self.wake()

    def drain(self) -> list[QueuedEvent]:
        """Removes and returns all queued events."""
        events = list(self._waiting)
        self._waiting.clear()
        self._bytes = 0
        return events

    async def wait(self, seconds: float) -> None:
        """Returns when an event is queued, the queue is closed, or the time is over. For one task only."""
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
        """Wakes the client's task, if it waits."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
