"""One client's events from a place on: first what it missed, then what happens, each once and in order.

The joint of the two, which loses nothing and repeats nothing:

- A place says for each channel up to where the client was told. It moves with every event that is handed out, never
  back, and a client that comes again brings the place of the last event it got.
- While a channel's memory (recent.py) does not reach back to the place, a page comes from the owner's read model: all
  between the place and where the hub was before it was asked. What the read model knows beyond that is left out: it
  comes later, from memory or from the next page.
- Once memory reaches back to the place in every channel, what it holds behind the place is taken and the client's
  outlet is attached in one step, in which the hub cannot move. So what was told before is in what was taken, and what
  is told later goes to the outlet.

Each round leaves less to be told, unless more happens meanwhile than memory holds; then another round follows.
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
from services.gateway.live.backfill import EventPage
from services.gateway.live.backfill_slots import SMALL, CatchUps
from services.gateway.live.client_queue import ClientQueue, CloseReason, QueuedEvent
from services.gateway.live.friend_index import FriendSet
from services.gateway.live.hub import ChannelPositions, HeadPosition, Hub

log = logging.getLogger(__name__)
# Seconds between two signs of life.
HEARTBEAT = 15.0
# Seconds until a page is asked for again that could not be had.
_PAUSE = 1.0
# What memory may hold for a client when it is attached; more is handed out first.
_FEW = 128
_TRANSIENT = (Unavailable, DeadlineExceeded, Overloaded, ReadModelBehind)


# Writes an event to the client, and says whether it has taken it; else it comes with `next`.
TryWrite = Callable[["ClientEvent"], bool]


class Pages(Protocol):
    async def page(
        self, channel: str, user_id: str, friends: Collection[str], after: int, until: int, most_bytes: int
    ) -> EventPage: ...

    async def are_friends(self, user_id: str, other_id: str) -> bool: ...


class ClientEvent(msgspec.Struct, frozen=True):
    """An event with the place that a client has reached when it has it."""

    id: str
    type: str
    # A JSON object.
    data: bytes


_EXPIRED, _REVOKED = "expired", "revoked"


def _beginning(events: list[QueuedEvent]) -> list[QueuedEvent]:
    """The first events, up to the one with which their data has more bytes than go out at once."""
    size = 0
    for number, event in enumerate(events):
        size += len(event.data)
        if size > SMALL:
            return events[: number + 1]
    return events


class _Ended(msgspec.Struct, frozen=True):
    session_id: str


# Whether the session goes on, asked of its owner.
StillActive = Callable[[str], Awaitable[bool]]


class Subscription:
    """Used by one task, within `async with`."""

    def __init__(
        self,
        hub: Hub,
        history: Pages,
        outlet: ClientQueue,
        places: ChannelPositions,
        *,
        still_active: StillActive,
        catch_ups: CatchUps,
        handed_out: Callable[[int], None],
        heartbeat: float = HEARTBEAT,
        pause: float = _PAUSE,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`places`: where to begin, for every channel that the client wants."""
        self._hub = hub
        self._history = history
        self._outlet = outlet
        self._places = places
        self._still_active = still_active
        self._catch_ups = catch_ups
        self._handed_out = handed_out
        self._heartbeat = heartbeat
        self._pause = pause
        self._clock = clock
        # Set by whoever passes the events on, where that can be done without waiting.
        self.try_write: TryWrite | None = None
        # Where the hub was when an event was handed out at once last.
        self._reached: HeadPosition | None = None
        self._circle: FriendSet | None = None
        # Up to where in MESSAGING it is known whether the conversation with somebody is closed, and is closed.
        self._known: ChannelPositions = {}
        self._closed: ChannelPositions = {}
        self._attached = False
        # Whether a page of what was missed is on its way to the client.
        self._page_out = False
        self._over = False
        self._end_sent = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._hub.detach(self._outlet)
        self._catch_ups.give_back(self._outlet)
        if self._circle is not None:
            self._hub.circles.release(self._outlet.user_id, self._circle)

    @property
    def id(self) -> str:
        """The place reached with what was handed out."""
        return self._hub.seal(self._places)

    @property
    def end(self) -> CloseReason | None:
        """Why nothing more comes; None while something may."""
        return self._outlet.end if self._over else None

    def give_up(self, end: CloseReason) -> None:
        """The client cannot be told any more."""
        self._outlet.close(end)

    async def next(self) -> list[ClientEvent]:
        """What comes next, at least one event; nothing as a sign of life, and at the end.

        Whoever asks has passed on what it got before: `id` moves on then also without an event.
        """
        circle = self._circle or await self._enter()
        if circle is None:
            return self._heartbeat_or_end()
        if self._page_out:
            # The client has it.
            self._page_out = False
            self._catch_ups.give_back(self._outlet)
        while not self._attached:
            items = await self._catch_up(circle)
            if items is not None:
                return items
        return await self._live()

    async def _enter(self) -> FriendSet | None:
        hub, outlet = self._hub, self._outlet
        if outlet.end is not None:
            return None
        try:
            self._circle = await hub.circles.acquire(
                outlet.user_id, hub.position(CONTACT), lambda: hub.position(PROFILE)
            )
        except _TRANSIENT as error:
            log.info("friends of a user cannot be had just now: %s", error)
            await outlet.wait(self._pause)
        return self._circle

    async def _catch_up(self, circle: FriendSet) -> list[ClientEvent] | None:
        """The next of what was missed; None when there is no more of it, and the outlet is attached."""
        outlet, hub, places = self._outlet, self._hub, self._places
        if outlet.end is not None:
            return self._heartbeat_or_end()
        late = next((channel for channel in places if not hub.covers(channel, places[channel], circle)), None)
        if late is not None:
            return await self._page(late, circle)
        if doubtful := self._unconfirmed_peers(circle):
            return await self._ask(doubtful)
        # From here to the end nothing waits.
        found = [event for event in self._remembered(circle) if self._closed.get(event.peer, 0) < event.sequence]
        part = _beginning(found)
        if len(part) == len(found) <= _FEW:
            hub.attach(outlet)
            self._attached = True
        return self._numbered(part) or None

    async def _page(self, channel: str, circle: FriendSet) -> list[ClientEvent] | None:
        outlet = self._outlet
        if not self._catch_ups.take(outlet):
            await outlet.wait(self._heartbeat)
            return []
        self._page_out = True
        until, size = self._hub.position(channel), self._catch_ups.page_bytes
        try:
            page = await self._history.page(channel, outlet.user_id, circle.friends, self._places[channel], until, size)
        except _TRANSIENT as error:
            log.info("what a client missed of %s cannot be had just now: %s", channel, error)
            await outlet.wait(self._pause)
            return []
        items = self._numbered(page.events)
        self._places[channel] = max(self._places[channel], page.reached)
        return items or None

    def _unconfirmed_peers(self, circle: FriendSet) -> set[str]:
        """Whose conversation with the user may be closed: they are no friends as far as this gateway has heard."""
        return {
            event.peer
            for event in self._remembered(circle)
            if event.peer and event.peer not in circle.friends and self._known.get(event.peer, 0) < event.sequence
        }

    async def _ask(self, people: Iterable[str]) -> list[ClientEvent] | None:
        """Whether these are friends, which settles it for what they have written until now."""
        user_id, until = self._outlet.user_id, self._hub.position(MESSAGING)
        try:
            for person in people:
                if not await self._history.are_friends(user_id, person):
                    self._closed[person] = until
                self._known[person] = until
        except _TRANSIENT as error:
            log.info("whether two are friends cannot be had just now: %s", error)
            await self._outlet.wait(self._pause)
            return []
        return None

    async def _live(self) -> list[ClientEvent]:
        outlet = self._outlet
        if not len(outlet) and outlet.end is None:
            self._places |= {channel: self._hub.position(channel) for channel in self._places}
            left = outlet.expires_at - self._clock()
            if left <= 0:
                return await self._check_expiry()
            await self._idle(min(self._heartbeat, left))
        if len(outlet):
            return self._numbered(outlet.drain())
        return self._heartbeat_or_end()

    async def _idle(self, seconds: float) -> None:
        """Waits for what has to wait for a task; all else is handed to the client meanwhile, as it comes."""
        outlet, hub = self._outlet, self._hub
        # The channels of notifications have places of their own, behind those of their streams.
        if self.try_write is not None and not outlet.notified:
            outlet.at_once = self._deliver_now
        try:
            await outlet.wait(seconds)
        finally:
            outlet.at_once = None
        if not len(outlet) and not outlet.notified:
            self._places |= hub.head().places
        elif self._reached is not None:
            self._places |= self._reached.places
        self._reached = None

    def _deliver_now(self, event: QueuedEvent) -> bool:
        """The event goes to a client that has all that came before it."""
        assert self.try_write is not None
        if event.channel == SESSION:
            return False
        here = self._hub.head()
        try:
            if not self.try_write(ClientEvent(here.id, event.type, event.data)):
                return False
        except Exception:
            # The edge: the client finds an end and comes again, and all others are told.
            log.exception("a live event could not be passed on")
            self._outlet.close(CloseReason.FAILED)
            return True
        self._reached = here
        self._handed_out(1)
        return True

    async def _check_expiry(self) -> list[ClientEvent]:
        """The session should have run out by now; only its owner knows."""
        outlet = self._outlet
        try:
            active = await self._still_active(outlet.session_id)
        except _TRANSIENT as error:
            log.info("whether a session goes on cannot be asked just now: %s", error)
            active = True
        if active:
            outlet.expires_at = max(outlet.expires_at, self._clock() + self._heartbeat)
            return []
        outlet.close(CloseReason.SESSION, _EXPIRED)
        return self._heartbeat_or_end()

    def _heartbeat_or_end(self) -> list[ClientEvent]:
        """A sign of life, or the end; what comes last is that the session has ended, where that is the reason."""
        outlet = self._outlet
        if outlet.end is CloseReason.SESSION and not self._end_sent:
            self._end_sent = True
            end = LiveSessionEnd(outlet.session_id, outlet.reason or _REVOKED)
            return [ClientEvent(self.id, SessionRevoked.TYPE, msgspec.json.encode(end))]
        self._over = outlet.end is not None
        return []

    def _own(self, event: QueuedEvent) -> bool:
        return msgspec.json.decode(event.data, type=_Ended).session_id == self._outlet.session_id

    def _remembered(self, circle: FriendSet) -> list[QueuedEvent]:
        return self._hub.recent(self._outlet.user_id, self._places, circle)

    def _numbered(self, events: Iterable[QueuedEvent]) -> list[ClientEvent]:
        """The events as they go out, each with the place reached with it."""
        items = []
        for event in events:
            if event.channel == SESSION and self._own(event):
                # Its own session's end is what it says last.
                continue
            self._places[event.channel] = event.sequence
            items.append(ClientEvent(self.id, event.type, event.data))
        self._handed_out(len(items))
        return items
