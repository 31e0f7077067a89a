"""In-memory hub: routes the streams' events to the clients of this process, by user, without waiting.

One consumer per stream feeds it, however many clients there are. Publishing, reading and attaching are synchronous, so
each sees one consistent state: joining backfill and live events relies on this.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping

import msgspec

from contracts.notification_kinds import NOTIFICATION_CHANNELS, stream_of
from contracts.subjects import MESSAGING, PROFILE
from services.gateway.live.client_queue import ClientQueue, QueuedEvent
from services.gateway.live.fanout import CHANNELS, STREAMS, OutboundEvent
from services.gateway.live.friend_index import FriendIndex, FriendSet
from services.gateway.live.replay_buffer import ReplayBuffer

ChannelPositions = dict[str, int]


class HeadPosition(msgspec.Struct, frozen=True):
    """A position in every stream, and its text for clients."""

    places: ChannelPositions
    id: str


class Hub:
    """The clients of one gateway, and the recently published events."""

    def __init__(
        self,
        circles: FriendIndex,
        *,
        seal: Callable[[ChannelPositions], str],
        recent: Callable[[], ReplayBuffer] = ReplayBuffer,
    ) -> None:
        self.circles = circles
        # Makes a position's text for clients.
        self.seal = seal
        self._recent = {channel: recent() for channel in CHANNELS}
        # By stream: everything up to here is published; absent until its follower has started.
        self._positions: ChannelPositions = {}
        # The last profile.updated that was skipped: its user had no friend here.
        self._passed_over = 0
        self._outlets: dict[str, list[ClientQueue]] = {}
        self._moved: set[asyncio.Future[None]] = set()
        # Computed on demand, and dropped when any position advances.
        self._here: HeadPosition | None = None

    @property
    def begun(self) -> bool:
        """Whether every stream is followed."""
        return len(self._positions) == len(STREAMS)

    def position(self, channel: str) -> int:
        """Everything of the channel up to this sequence is published."""
        return self._positions[stream_of(channel)]

    def positions(self) -> ChannelPositions:
        """The positions of the streams that are followed."""
        return dict(self._positions)

    def head(self) -> "HeadPosition":
        """The position of a client that has received everything published."""
        if self._here is None:
            places = {stream: self._positions[stream] for stream in STREAMS}
            self._here = HeadPosition(places, self.seal(places))
        return self._here

    # Called by stream followers

    def start_stream(self, stream: str, sequence: int) -> None:
        """What is published of the stream from now on comes after this sequence."""
        for channel in CHANNELS:
            if stream_of(channel) == stream:
                self._recent[channel].begin(sequence)
        self._positions[stream] = sequence
        self._here = None

    def publish(self, told: OutboundEvent) -> None:
        """Publishes the next event of a channel."""
        self._recent[told.channel].add(told)
        stream = stream_of(told.channel)
        if told.sequence > self._positions.get(stream, 0):
            self._positions[stream] = told.sequence
            self._here = None
        for user_id in self.circles.friends_of(told.friends_of) if told.friends_of else told.payload_by_user:
            outlets = self._outlets.get(user_id)
            if outlets is not None:
                self._deliver(told, "" if told.friends_of else user_id, outlets)

    def skip(self, sequence: int) -> None:
        """Skips a profile.updated of a user without friends here."""
        self._passed_over = sequence
        # Otherwise a friend set loaded next would count as having received it.
        self.advance(PROFILE, sequence)

    def mark_lost(self, stream: str, sequence: int) -> None:
        """Marks events up to the sequence as not published: no client may resume here from before it."""
        self.start_stream(stream, sequence)
        self.advance(stream, sequence)

    def advance(self, stream: str, sequence: int) -> None:
        """Marks everything up to the sequence as published, and wakes waiting clients."""
        if sequence > self._positions.get(stream, 0):
            self._positions[stream] = sequence
            self._here = None
        for waiter in self._moved:
            if not waiter.done():
                waiter.set_result(None)

    def refreshed(self, user_id: str, session_id: str, expires_at: float) -> None:
        """Extends the known expiry of a session; Unix time."""
        for outlet in self._outlets.get(user_id, ()):
            if outlet.session_id == session_id:
                outlet.expires_at = max(outlet.expires_at, expires_at)

    # Called for clients

    def covers(self, channel: str, sequence: int, circle: FriendSet) -> bool:
        """Whether the replay buffer has all events of the channel after the sequence, for a user with these friends."""
        if sequence < self._recent[channel].oldest_sequence:
            return False
        if channel != PROFILE:
            return True
        # An update skipped before the friend set was loaded may have been a friend's.
        assert circle.complete_since is not None
        return sequence >= min(circle.complete_since, self._passed_over)

    def recent(self, user_id: str, places: Mapping[str, int], circle: FriendSet) -> list[QueuedEvent]:
        """The user's buffered events after the positions, in the order of CHANNELS."""
        found: list[QueuedEvent] = []
        for channel in CHANNELS:
            if channel in places:
                found += _of(user_id, circle, self._recent[channel].since(places[channel]))
        return found

    def attach(self, outlet: ClientQueue) -> None:
        """From now on the queue receives its user's events."""
        self._outlets.setdefault(outlet.user_id, []).append(outlet)

    def detach(self, outlet: ClientQueue) -> None:
        outlets = self._outlets.get(outlet.user_id)
        if outlets is not None and outlet in outlets:
            outlets.remove(outlet)
            if not outlets:
                del self._outlets[outlet.user_id]

    async def until_reached(self, places: Mapping[str, int], seconds: float) -> bool:
        """Waits until all these positions are published; false if that takes longer than `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                while not self.has_reached(places):
                    waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                    self._moved.add(waiter)
                    try:
                        await waiter
                    finally:
                        self._moved.discard(waiter)
        except TimeoutError:
            return False
        return True

    def has_reached(self, places: Mapping[str, int]) -> bool:
        return all(self.position(channel) >= sequence for channel, sequence in places.items())

    def _deliver(self, told: OutboundEvent, data_of: str, outlets: list[ClientQueue]) -> None:
        waiting: QueuedEvent | None = None
        for outlet in outlets:
            if told.channel in NOTIFICATION_CHANNELS and not outlet.notified:
                continue
            if waiting is None:
                waiting = QueuedEvent(told.channel, told.sequence, told.type, told.payload_by_user[data_of])
            outlet.put(waiting)


def _of(user_id: str, circle: FriendSet, told: Iterable[OutboundEvent]) -> Iterator[QueuedEvent]:
    for each in told:
        data = each.payload_by_user.get("" if each.friends_of else user_id)
        if data is not None and (not each.friends_of or each.friends_of in circle.friends):
            peer = (
                next((other for other in each.payload_by_user if other != user_id), "")
                if each.channel == MESSAGING
                else ""
            )
            yield QueuedEvent(each.channel, each.sequence, each.type, data, peer)
