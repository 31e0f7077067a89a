"""Where the streams' events and the clients of this process meet: routing by user, in memory, without waiting.

One consumer a stream feeds it, however many clients there are. Nothing here awaits, so that every look at it is a look
at one moment: that is what the joining of history and present rests on.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping

import msgspec

from contracts.subjects import MESSAGING, PROFILE
from services.gateway.live.client_queue import ClientQueue, QueuedEvent
from services.gateway.live.fanout import CHANNELS, NOTIFICATION_CHANNELS, STREAMS, OutboundEvent
from services.gateway.live.friend_index import FriendIndex, FriendSet
from services.gateway.live.replay_buffer import ReplayBuffer

ChannelPositions = dict[str, int]


class HeadPosition(msgspec.Struct, frozen=True):
    """A place in every stream, and the same as clients get it."""

    places: ChannelPositions
    id: str


class Hub:
    """The clients of one gateway, and what was told of late."""

    def __init__(
        self,
        circles: FriendIndex,
        *,
        seal: Callable[[ChannelPositions], str],
        recent: Callable[[], ReplayBuffer] = ReplayBuffer,
    ) -> None:
        self.circles = circles
        # Makes of a place the text that clients get.
        self.seal = seal
        self._recent = {channel: recent() for channel in CHANNELS}
        # Everything up to here was told, by stream; not there before its follower has begun.
        self._positions: ChannelPositions = {}
        # The last profile.updated that nobody here was told of, since nobody here knew the person.
        self._passed_over = 0
        self._outlets: dict[str, list[ClientQueue]] = {}
        self._moved: set[asyncio.Future[None]] = set()
        # Made when it is asked for, and dropped when anything moves.
        self._here: HeadPosition | None = None

    @property
    def begun(self) -> bool:
        """Whether every stream is followed."""
        return len(self._positions) == len(STREAMS)

    def position(self, channel: str) -> int:
        """Everything of the channel up to this sequence has been told."""
        return self._positions[NOTIFICATION_CHANNELS.get(channel, channel)]

    def positions(self) -> ChannelPositions:
        """Of the streams that are followed."""
        return dict(self._positions)

    def head(self) -> "HeadPosition":
        """Where everybody stands who was handed all that was told."""
        if self._here is None:
            places = {stream: self._positions[stream] for stream in STREAMS}
            self._here = HeadPosition(places, self.seal(places))
        return self._here

    # What followers say

    def start_stream(self, stream: str, sequence: int) -> None:
        """What is told of the stream from now on lies behind this sequence."""
        for channel in CHANNELS:
            if NOTIFICATION_CHANNELS.get(channel, channel) == stream:
                self._recent[channel].begin(sequence)
        self._positions[stream] = sequence
        self._here = None

    def publish(self, told: OutboundEvent) -> None:
        """The next event of a channel."""
        self._recent[told.channel].add(told)
        stream = NOTIFICATION_CHANNELS.get(told.channel, told.channel)
        if told.sequence > self._positions.get(stream, 0):
            self._positions[stream] = told.sequence
            self._here = None
        for user_id in self.circles.friends_of(told.friends_of) if told.friends_of else told.payload_by_user:
            outlets = self._outlets.get(user_id)
            if outlets is not None:
                self._deliver(told, "" if told.friends_of else user_id, outlets)

    def skip(self, sequence: int) -> None:
        """A profile.updated of somebody whom nobody here knows."""
        self._passed_over = sequence
        # Or a circle that is whole from here on would be taken to have been told of it.
        self.advance(PROFILE, sequence)

    def mark_lost(self, stream: str, sequence: int) -> None:
        """Something up to the sequence will not be told: nobody may go on here from before it."""
        self.start_stream(stream, sequence)
        self.advance(stream, sequence)

    def advance(self, stream: str, sequence: int) -> None:
        """Everything up to the sequence has been told."""
        if sequence > self._positions.get(stream, 0):
            self._positions[stream] = sequence
            self._here = None
        for waiter in self._moved:
            if not waiter.done():
                waiter.set_result(None)

    def refreshed(self, user_id: str, session_id: str, expires_at: float) -> None:
        """The session runs out later than was known; Unix time."""
        for outlet in self._outlets.get(user_id, ()):
            if outlet.session_id == session_id:
                outlet.expires_at = max(outlet.expires_at, expires_at)

    # What clients ask

    def covers(self, channel: str, sequence: int, circle: FriendSet) -> bool:
        """Whether all that the channel has told behind the sequence is in memory, for somebody with this circle."""
        if sequence < self._recent[channel].oldest_sequence:
            return False
        if channel != PROFILE:
            return True
        # What was passed over before the circle was known may have been a friend's.
        assert circle.complete_since is not None
        return sequence >= min(circle.complete_since, self._passed_over)

    def recent(self, user_id: str, places: Mapping[str, int], circle: FriendSet) -> list[QueuedEvent]:
        """What the user was told behind the places, in the order of CHANNELS."""
        found: list[QueuedEvent] = []
        for channel in CHANNELS:
            if channel in places:
                found += _of(user_id, circle, self._recent[channel].since(places[channel]))
        return found

    def attach(self, outlet: ClientQueue) -> None:
        """From now on the outlet gets what its user is told."""
        self._outlets.setdefault(outlet.user_id, []).append(outlet)

    def detach(self, outlet: ClientQueue) -> None:
        outlets = self._outlets.get(outlet.user_id)
        if outlets is not None and outlet in outlets:
            outlets.remove(outlet)
            if not outlets:
                del self._outlets[outlet.user_id]

    async def until_reached(self, places: Mapping[str, int], seconds: float) -> bool:
        """Waits until all of that was told; whether it was in time."""
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
