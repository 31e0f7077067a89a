"""One client's events from a position on: backfill, then live events, each once and in order.

The two are joined without loss or duplicates:

- A position holds, for each channel, the sequence up to which the client has received events. It advances with every
  event handed out, never back. A client that reconnects brings the position of the last event it received.
- While a channel's replay buffer (replay_buffer.py) does not reach back to the position, a page comes from the owner's
  read model: everything after the position, up to where the hub was before the request. Later events of the read model
  are left out: they come from the buffer or with the next page.
- Once the buffers of all channels reach back to the position, the buffered events after it are taken and the client's
  queue is attached in one step, in which the hub cannot advance. So events published before are among those taken, and
  events published later go to the queue.

Each round leaves fewer events, unless more happen meanwhile than a buffer holds; then another round follows.
"""

import logging
import time
from collections.abc import Awaitable, Callable, Collection, Iterable
from types import TracebackType
from typing import Protocol, Self

import msgspec

from contracts.errors import DeadlineExceeded, Overloaded, ReadModelBehind, Unavailable
from contracts.events.session import SessionRevoked
from contracts.notification_kinds import LiveSessionEnd
from contracts.subjects import CONTACT, MESSAGING, PROFILE, SESSION
from services.gateway.cache.mute_index import MuteIndex, UserMutes
from services.gateway.cache.quote_texts import QuoteTexts, with_quoted_text
from services.gateway.live.backfill import EventPage
from services.gateway.live.backfill_slots import SMALL, BackfillSlots
from services.gateway.live.client_queue import EPHEMERAL, ClientQueue, CloseReason, QueuedEvent
from services.gateway.live.friend_index import FriendSet
from services.gateway.live.hub import ChannelPositions, HeadPosition, Hub

log = logging.getLogger(__name__)
# Seconds between two heartbeats.
HEARTBEAT = 15.0
# Seconds until a failed request is retried.
_PAUSE = 1.0
# Seconds for which a client's first events wait for the user's mutes.
_MUTES_WITHIN = 2.0
# Most buffered events when the queue is attached; more are handed out first.
_FEW = 128
_TRANSIENT = (Unavailable, DeadlineExceeded, Overloaded, ReadModelBehind)


# Writes an event to the client synchronously; returns whether it did. If not, `next` returns the event.
TryWrite = Callable[["ClientEvent"], bool]


class Pages(Protocol):
    async def page(
        self, channel: str, user_id: str, friends: Collection[str], after: int, until: int, most_bytes: int
    ) -> EventPage: ...

    async def are_friends(self, user_id: str, other_id: str) -> bool: ...


class ClientEvent(msgspec.Struct, frozen=True):
    """An event, and the position that a client has reached once it has received it."""

    # Empty for an ephemeral event, which moves no position.
    id: str
    type: str
    # A JSON object.
    data: bytes


_EXPIRED, _REVOKED = "expired", "revoked"


def _beginning(events: list[QueuedEvent]) -> list[QueuedEvent]:
    """The first events, up to the one that brings their data above SMALL bytes."""
    size = 0
    for number, event in enumerate(events):
        size += len(event.data)
        if size > SMALL:
            return events[: number + 1]
    return events


class _Ended(msgspec.Struct, frozen=True):
    session_id: str


# Asks the session's owner whether the session is still active.
StillActive = Callable[[str], Awaitable[bool]]


class Subscription:
    """One client's events as batches of `next`. Used by one task, within `async with`."""

    def __init__(
        self,
        hub: Hub,
        backfill: Pages,
        queue: ClientQueue,
        positions: ChannelPositions,
        *,
        still_active: StillActive,
        slots: BackfillSlots,
        mutes: MuteIndex,
        quotes: QuoteTexts,
        handed_out: Callable[[int], None],
        heartbeat: float = HEARTBEAT,
        pause: float = _PAUSE,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`positions`: the start position, for every channel that the client wants."""
        self._hub = hub
        self._backfill = backfill
        self._queue = queue
        self._positions = positions
        self._still_active = still_active
        self._slots = slots
        self._mutes = mutes
        self._quotes = quotes
        self._handed_out = handed_out
        self._heartbeat = heartbeat
        self._pause = pause
        self._clock = clock
        # Set by the sender of the events, if it can write without waiting.
        self.try_write: TryWrite | None = None
        # The hub's position at the last event delivered by `_deliver_now`.
        self._reached: HeadPosition | None = None
        self._friend_set: FriendSet | None = None
        self._user_mutes: UserMutes | None = None
        # By user, sequences of MESSAGING: up to where it is known whether their conversation is closed, and up to where
        # it is closed.
        self._known: ChannelPositions = {}
        self._closed: ChannelPositions = {}
        self._attached = False
        # Whether a backfill page is on its way to the client.
        self._page_out = False
        self._over = False
        self._end_sent = False

    async def __aenter__(self) -> Self:
        if self._queue.notified:
            self._user_mutes = self._mutes.acquire(self._queue.user_id, self._hub.position(MESSAGING))
            self._queue.muted = self._user_mutes.muted_until
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._user_mutes is not None:
            self._mutes.release(self._queue.user_id)
        self._hub.detach(self._queue)
        self._slots.give_back(self._queue)
        if self._friend_set is not None:
            self._hub.friend_index.release(self._queue.user_id, self._friend_set)

    @property
    def id(self) -> str:
        """The position reached with the events handed out."""
        return self._hub.seal(self._positions)

    @property
    def end(self) -> CloseReason | None:
        """Why the subscription has ended; None while it goes on."""
        return self._queue.end if self._over else None

    def give_up(self, end: CloseReason) -> None:
        """Closes the subscription of an unreachable client."""
        self._queue.close(end)

    async def next(self) -> list[ClientEvent]:
        """The next events, at least one; empty as a heartbeat, and at the end.

        The caller has sent the previous events by then. `id` may advance without an event.
        """
        friend_set = self._friend_set or await self._enter()
        if friend_set is None:
            return self._heartbeat_or_end()
        if self._page_out:
            # The client has received the page.
            self._page_out = False
            self._slots.give_back(self._queue)
        while not self._attached:
            items = await self._backfill_round(friend_set)
            if items is not None:
                return items
        return await self._live()

    async def _enter(self) -> FriendSet | None:
        hub, queue = self._hub, self._queue
        if queue.end is not None:
            return None
        try:
            if self._user_mutes is not None:
                # Other events do not wait for messaging longer than this; until then all notifications are sent.
                await self._user_mutes.wait_loaded(_MUTES_WITHIN)
            self._friend_set = await hub.friend_index.acquire(
                queue.user_id, hub.position(CONTACT), lambda: hub.position(PROFILE)
            )
        except _TRANSIENT as error:
            log.info("the friends of a user cannot be loaded: %s", error)
            await queue.wait(self._pause)
        return self._friend_set

    async def _backfill_round(self, friend_set: FriendSet) -> list[ClientEvent] | None:
        """One round of what was missed; None if it yields nothing. Attaches the queue once few events are left."""
        queue, hub, positions = self._queue, self._hub, self._positions
        if queue.end is not None:
            return self._heartbeat_or_end()
        late = next((channel for channel in positions if not hub.covers(channel, positions[channel], friend_set)), None)
        if late is not None:
            return await self._page(late, friend_set)
        if doubtful := self._unconfirmed_peers(friend_set):
            return await self._ask(doubtful)
        # No await until the queue is attached.
        events = [event for event in self._remembered(friend_set) if self._closed.get(event.peer, 0) < event.sequence]
        part = _beginning(events)
        if len(part) == len(events) <= _FEW:
            hub.attach(queue)
            self._attached = True
        return self._numbered(await self._with_quotes(part)) or None

    async def _with_quotes(self, events: list[QueuedEvent]) -> list[QueuedEvent]:
        """The events with the texts that replies quote; this client alone waits for them."""
        if all(event.quoted is None for event in events):
            return events
        texts = await self._quotes.get(event.quoted for event in events if event.quoted is not None)
        return [
            event
            if event.quoted is None or (text := texts.get(event.quoted.message_id)) is None
            else msgspec.structs.replace(event, data=with_quoted_text(event.data, text))
            for event in events
        ]

    async def _page(self, channel: str, friend_set: FriendSet) -> list[ClientEvent] | None:
        queue = self._queue
        if not self._slots.take(queue):
            await queue.wait(self._heartbeat)
            return []
        self._page_out = True
        until, size = self._hub.position(channel), self._slots.page_bytes
        try:
            page = await self._backfill.page(
                channel, queue.user_id, friend_set.friends, self._positions[channel], until, size
            )
        except _TRANSIENT as error:
            log.info("the missed events of a client in %s cannot be loaded: %s", channel, error)
            await queue.wait(self._pause)
            return []
        items = self._numbered(page.events)
        self._positions[channel] = max(self._positions[channel], page.reached)
        return items or None

    def _unconfirmed_peers(self, friend_set: FriendSet) -> set[str]:
        """Peers whose conversation with the user may be closed: not friends as far as this gateway has read."""
        return {
            event.peer
            for event in self._remembered(friend_set)
            if event.peer and event.peer not in friend_set.friends and self._known.get(event.peer, 0) < event.sequence
        }

    async def _ask(self, people: Iterable[str]) -> list[ClientEvent] | None:
        """Checks whether these are friends, which decides on everything that they have written so far."""
        user_id, until = self._queue.user_id, self._hub.position(MESSAGING)
        try:
            for person in people:
                if not await self._backfill.are_friends(user_id, person):
                    self._closed[person] = until
                self._known[person] = until
        except _TRANSIENT as error:
            log.info("whether two users are friends cannot be loaded: %s", error)
            await self._queue.wait(self._pause)
            return []
        return None

    async def _live(self) -> list[ClientEvent]:
        queue = self._queue
        if not len(queue) and queue.end is None:
            self._positions |= {channel: self._hub.position(channel) for channel in self._positions}
            left = queue.expires_at - self._clock()
            if left <= 0:
                return await self._check_expiry()
            await self._idle(min(self._heartbeat, left))
        if len(queue):
            return self._numbered(await self._with_quotes(queue.drain()))
        return self._heartbeat_or_end()

    async def _idle(self, seconds: float) -> None:
        """Waits for events that need the client's task; all others are delivered meanwhile, as they come."""
        queue, hub = self._queue, self._hub
        # The hub's head has no positions for notification channels.
        if self.try_write is not None and not queue.notified:
            queue.at_once = self._deliver_now
        try:
            await queue.wait(seconds)
        finally:
            queue.at_once = None
        # A closed queue takes nothing: what has been published since is not delivered.
        if not len(queue) and not queue.notified and queue.end is None:
            self._positions |= hub.head().positions
        elif self._reached is not None:
            self._positions |= self._reached.positions
        self._reached = None

    def _deliver_now(self, event: QueuedEvent) -> bool:
        """Delivers the event to a client that has received everything before it."""
        assert self.try_write is not None
        if event.channel == SESSION or event.quoted is not None:
            return False
        here = self._hub.head() if event.channel != EPHEMERAL else None
        try:
            if not self.try_write(ClientEvent(here.id if here is not None else "", event.type, event.data)):
                return False
        except Exception:
            # The edge: this client is closed and reconnects, and all others still get the event.
            log.exception("a live event could not be delivered")
            self._queue.close(CloseReason.FAILED)
            return True
        self._reached = here or self._reached
        self._handed_out(1)
        return True

    async def _check_expiry(self) -> list[ClientEvent]:
        """The session should have expired by now; its owner decides."""
        queue = self._queue
        try:
            active = await self._still_active(queue.session_id)
        except _TRANSIENT as error:
            log.info("the state of a session cannot be checked: %s", error)
            active = True
        if active:
            queue.expires_at = max(queue.expires_at, self._clock() + self._heartbeat)
            return []
        queue.close(CloseReason.SESSION, _EXPIRED)
        return self._heartbeat_or_end()

    def _heartbeat_or_end(self) -> list[ClientEvent]:
        """A heartbeat, or the end; if the session has ended, the last event says so."""
        queue = self._queue
        if queue.end is CloseReason.SESSION and not self._end_sent:
            self._end_sent = True
            end = LiveSessionEnd(queue.session_id, queue.reason or _REVOKED)
            return [ClientEvent(self.id, SessionRevoked.TYPE, msgspec.json.encode(end))]
        self._over = queue.end is not None
        return []

    def _own(self, event: QueuedEvent) -> bool:
        return msgspec.json.decode(event.data, type=_Ended).session_id == self._queue.session_id

    def _remembered(self, friend_set: FriendSet) -> list[QueuedEvent]:
        return self._hub.recent(self._queue, self._positions, friend_set)

    def _numbered(self, events: Iterable[QueuedEvent]) -> list[ClientEvent]:
        """The events as sent, each with the position reached with it."""
        items = []
        for event in events:
            if event.channel == SESSION and self._own(event):
                # The end of its own session is sent last.
                continue
            if event.channel == EPHEMERAL:
                items.append(ClientEvent("", event.type, event.data))
                continue
            self._positions[event.channel] = event.sequence
            items.append(ClientEvent(self.id, event.type, event.data))
        self._handed_out(len(items))
        return items
