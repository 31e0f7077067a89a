"""In-memory hub: routes the streams' events to the clients of this process, by user, without waiting.

One consumer per stream feeds it, however many clients there are. Publishing, reading and attaching are synchronous, so
each sees one consistent state: joining backfill and live events relies on this.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Mapping

import msgspec

from contracts.events.message import MessageDeleted
from contracts.notification_kinds import NOTIFICATION_CHANNELS, NOTIFIED_MESSAGING, stream_of
from contracts.subjects import MESSAGING, PROFILE
from services.gateway.cache.quote_texts import Quoted, QuotedTexts
from services.gateway.live.client_queue import ClientQueue, QueuedEvent
from services.gateway.live.fanout import CHANNELS, STREAMS, LazyNotification, OutboundEvent, with_quote
from services.gateway.live.friend_index import FriendIndex, FriendSet
from services.gateway.live.replay_buffer import ReplayBuffer

ChannelPositions = dict[str, int]


class HeadPosition(msgspec.Struct, frozen=True):
    """A position in every stream, and its text for clients."""

    positions: ChannelPositions
    id: str


class Hub:
    """The clients of one gateway, and the recently published events."""

    def __init__(
        self,
        friend_index: FriendIndex,
        *,
        seal: Callable[[ChannelPositions], str],
        recent: Callable[[], ReplayBuffer] = ReplayBuffer,
        on_attach: Callable[[ClientQueue], None] = lambda queue: None,
    ) -> None:
        """`on_attach`: called when a queue receives live events from now on."""
        self.friend_index = friend_index
        # Makes a position's text for clients.
        self.seal = seal
        self._on_attach = on_attach
        self._recent = {channel: recent() for channel in CHANNELS}
        # By stream: everything up to here is published; absent until its follower has started.
        self._positions: ChannelPositions = {}
        # The last profile.updated that was skipped: its user had no friend here.
        self._passed_over = 0
        self._queues: dict[str, list[ClientQueue]] = {}
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
            positions = {stream: self._positions[stream] for stream in STREAMS}
            self._here = HeadPosition(positions, self.seal(positions))
        return self._here

    # Called by stream followers

    def start_stream(self, stream: str, sequence: int) -> None:
        """Sets the sequence after which events of the stream are published."""
        for channel in CHANNELS:
            if stream_of(channel) == stream:
                self._recent[channel].begin(sequence)
        self._positions[stream] = sequence
        self._here = None

    def publish(self, event: OutboundEvent) -> int:
        """Publishes the next event of a channel; returns how many clients receive it."""
        if event.quoted is not None and (text := self._recent[event.channel].text_of(event.quoted.message_id)):
            event = with_quote(event, text)
        self._recent[event.channel].add(event)
        if event.type == MessageDeleted.TYPE:
            self._recent[NOTIFIED_MESSAGING].remove(event.message_id)
        stream = stream_of(event.channel)
        if event.sequence > self._positions.get(stream, 0):
            self._positions[stream] = event.sequence
            self._here = None
        clients = 0
        for user_id in self.friend_index.friends_of(event.friends_of) if event.friends_of else event.payload_by_user:
            queues = self._queues.get(user_id)
            if queues is not None:
                clients += self._deliver(event, "" if event.friends_of else user_id, queues)
        return clients

    def quote(self, texts: QuotedTexts) -> None:
        """Gives texts that were looked up to the buffered events which quote them."""
        self._recent[MESSAGING].quote(texts)

    def skip(self, sequence: int) -> None:
        """Skips a profile.updated of a user without friends here."""
        self._passed_over = sequence
        # Otherwise a friend set loaded next would count as having received it.
        self.advance(PROFILE, sequence)

    def mark_lost(self, stream: str, sequence: int) -> None:
        """Marks events up to the sequence as not published: no client may resume here from before it."""
        self.start_stream(stream, sequence)
        self.advance(stream, sequence)

    def forget_texts(self) -> None:
        """Empties the buffers of messages and profiles: a client that resumes gets them from the read models."""
        # A notification keeps the event of its message.
        for channel in (MESSAGING, NOTIFIED_MESSAGING, PROFILE):
            if (stream := stream_of(channel)) in self._positions:
                self._recent[channel].begin(self._positions[stream])

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
        for queue in self._queues.get(user_id, ()):
            if queue.session_id == session_id:
                queue.expires_at = max(queue.expires_at, expires_at)

    def offer(self, user_id: str, type_: str, data: bytes) -> None:
        """Offers an ephemeral event to the user's clients; one that lags does not get it."""
        for queue in self._queues.get(user_id, ()):
            queue.offer(type_, data)

    # Called for clients

    def covers(self, channel: str, sequence: int, friend_set: FriendSet) -> bool:
        """Whether the replay buffer has all events of the channel after the sequence, for a user with these friends."""
        if sequence < self._recent[channel].oldest_sequence:
            return False
        if channel != PROFILE:
            return True
        # An update skipped before the friend set was loaded may have been a friend's.
        assert friend_set.complete_since is not None
        return sequence >= min(friend_set.complete_since, self._passed_over)

    def recent(self, queue: ClientQueue, positions: Mapping[str, int], friend_set: FriendSet) -> list[QueuedEvent]:
        """The buffered events of the client's user after the positions, in the order of CHANNELS."""
        events: list[QueuedEvent] = []
        for channel in CHANNELS:
            if channel in positions:
                events += _of(queue, friend_set, self._recent[channel].since(positions[channel]))
        return events

    def attach(self, queue: ClientQueue) -> None:
        """Delivers the user's further events to the queue."""
        self._queues.setdefault(queue.user_id, []).append(queue)
        queue.attached = True
        self._on_attach(queue)

    def detach(self, queue: ClientQueue) -> None:
        queues = self._queues.get(queue.user_id)
        if queues is not None and queue in queues:
            queues.remove(queue)
            if not queues:
                del self._queues[queue.user_id]

    async def until_reached(self, positions: Mapping[str, int], seconds: float) -> bool:
        """Waits until all these positions are published; false if that takes longer than `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                while not self.has_reached(positions):
                    waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                    self._moved.add(waiter)
                    try:
                        await waiter
                    finally:
                        self._moved.discard(waiter)
        except TimeoutError:
            return False
        return True

    def has_reached(self, positions: Mapping[str, int]) -> bool:
        return all(self.position(channel) >= sequence for channel, sequence in positions.items())

    def _deliver(self, event: OutboundEvent, data_of: str, queues: list[ClientQueue]) -> int:
        waiting: QueuedEvent | None = None
        clients = 0
        for queue in queues:
            if event.channel in NOTIFICATION_CHANNELS and (not queue.notified or _is_muted(event, queue)):
                continue
            if waiting is None:
                data = event.payload_by_user[data_of]
                waiting = QueuedEvent(event.channel, event.sequence, event.type, data, quoted=_unknown_quote(event))
            queue.put(waiting)
            clients += 1
        return clients


def _is_muted(event: OutboundEvent, queue: ClientQueue) -> bool:
    """Whether it notifies of a message in a conversation that the client's user has muted."""
    notification = event.payload_by_user
    if not isinstance(notification, LazyNotification):
        return False
    return queue.muted.get(notification.message_from, 0.0) > time.time()


def _of(queue: ClientQueue, friend_set: FriendSet, events: Iterable[OutboundEvent]) -> Iterator[QueuedEvent]:
    user_id = queue.user_id
    for event in events:
        if _is_muted(event, queue):
            continue
        data = event.payload_by_user.get("" if event.friends_of else user_id)
        if data is not None and (not event.friends_of or event.friends_of in friend_set.friends):
            peer = (
                next((other for other in event.payload_by_user if other != user_id), "")
                if event.channel == MESSAGING
                else ""
            )
            yield QueuedEvent(event.channel, event.sequence, event.type, data, peer, _unknown_quote(event))


def _unknown_quote(event: OutboundEvent) -> Quoted | None:
    return None if event.is_quote_known else event.quoted
