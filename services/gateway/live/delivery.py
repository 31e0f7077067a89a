"""Live delivery as the gateway runs it: follows the streams, feeds the hub, opens and closes subscriptions."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from typing import Protocol

import msgspec
from nats.aio.client import Client as NATS

from contracts.envelope import Recorded
from contracts.errors import Invalid, Overloaded, RateLimited, ReadModelBehind, Unavailable
from contracts.events.event import Event
from contracts.events.friendship import FriendshipAccepted, FriendshipRemoved
from contracts.events.message import ConversationUpdated, MessageDeleted, MessageEdited
from contracts.events.profile import ProfileUpdated
from contracts.events.session import SessionRefreshed
from contracts.positions import Position
from contracts.rpc.vestnik.session.v1 import ValidateSessionRequest
from contracts.subjects import CONTACT, MESSAGING, PROFILE
from contracts.tracing import spans
from contracts.values.ids import new_id
from infra.rpc.call_context import Call
from services.gateway.cache.mute_index import MuteIndex
from services.gateway.cache.profile_reader import ProfileReader
from services.gateway.cache.quote_texts import QuotedText, QuoteTexts
from services.gateway.clients import ServiceClients
from services.gateway.consistency.encrypted_positions import SealedPositions
from services.gateway.consistency.stream_follower import StreamFollower, from_end
from services.gateway.live.backfill import Backfill
from services.gateway.live.backfill_slots import BackfillSlots
from services.gateway.live.client_queue import ClientQueue, CloseReason
from services.gateway.live.fanout import CHANNELS, STREAMS, fan_out
from services.gateway.live.friend_index import FriendIndex
from services.gateway.live.hub import ChannelPositions, Hub
from services.gateway.live.profile_updates import ProfileUpdates
from services.gateway.live.start_position import invalid_position, resolve_start
from services.gateway.live.subscription import HEARTBEAT, Subscription
from services.gateway.observability.delivery_spans import record_delivery
from services.gateway.observability.live_metrics import LiveMetrics
from services.gateway.security.access_tokens import Keys, Principal
from services.gateway.security.revocations import Revocations
from streams.jetstream.api import JetStream
from streams.message import Message
from streams.reader import ReadBatch

log = logging.getLogger(__name__)
# Most clients at the same time: of a gateway, and of one user.
MOST_CLIENTS = 20_000
MOST_OF_ONE = 100
_AGAIN_AFTER = 5
# Seconds between two checks whether the keys have changed.
_CHECK_SECONDS = 1.0
# Seconds for which a stream's end is awaited.
_PATIENCE = 5.0


class SubscriptionRequest(msgspec.Struct, frozen=True):
    """The caller, and the checked start position of every channel."""

    caller: Principal
    positions: ChannelPositions


class ConnectionListener(Protocol):
    """Learns of the clients that are connected here, and of what decides who is shown to whom."""

    def on_connect(self, client: ClientQueue) -> None:
        """A client has connected."""

    def on_attach(self, client: ClientQueue) -> None:
        """The client has caught up and receives live events."""

    def on_disconnect(self, client: ClientQueue) -> None:
        """Notes that a client has disconnected."""

    def on_settings(self, user_id: str, hidden: bool) -> None:
        """A user, connected here or not, has changed their profile. `hidden`: whether they hide their presence."""

    def on_friendship_removed(self, user_id: str, other_id: str) -> None:
        """The two are no longer friends."""


class LiveDelivery:
    """One gateway's live delivery: follows CONTACT and MESSAGING, listens to the gateway's other stream followers."""

    def __init__(
        self,
        nats: NATS,
        remotes: ServiceClients,
        profiles: ProfileReader,
        *,
        revocations: Revocations,
        session_seconds: float,
        metrics: LiveMetrics,
        keys: Keys,
        sealed: SealedPositions,
        confirm: Callable[[], None] = lambda: None,
        heartbeat: float = HEARTBEAT,
    ) -> None:
        """
        `session_seconds`: how long a session lasts after the end of the access token that it was refreshed with.
        `confirm`: raises Unavailable if the end of a stream may be older than what the cluster agrees on.
        """
        self._remotes = remotes
        self._revocations = revocations
        self._session_seconds = session_seconds
        self._metrics = metrics
        self._heartbeat = heartbeat
        self._backfill = Backfill(remotes, JetStream(nats, patience=_PATIENCE).last_sequence, confirm=confirm)
        self._hub = Hub(FriendIndex(self._backfill.friends), seal=sealed.seal_sequences, on_attach=self._attached)
        self._profiles = ProfileUpdates(self._hub, profiles, overrun=self._restart_all)
        self._slots = BackfillSlots()
        self._mutes = MuteIndex(self._backfill.mutes)
        self._quotes = QuoteTexts(
            self._backfill.quotes, position=lambda: self._hub.position(MESSAGING), loaded=self._hub.quote
        )
        self._keys = keys
        self._sealed = sealed
        # With the id of the key that signed the client's token.
        self._queues: dict[ClientQueue, str] = {}
        self._clients: Counter[str] = Counter()
        self._stopping = False
        # Set before `run`.
        self.listener: ConnectionListener | None = None
        self._followers = tuple(
            StreamFollower(nats, stream, start=from_end, name=f"live-{stream.lower()}")
            for stream in (CONTACT, MESSAGING)
        )
        for follower in self._followers:
            follower.listener = self

    @property
    def alive(self) -> bool:
        return all(follower.alive for follower in self._followers)

    def positions(self) -> Position:
        """The last published sequence of each followed stream."""
        return Position(self._hub.positions())

    async def run(self) -> None:
        """Follows and publishes until cancelled."""
        async with asyncio.TaskGroup() as group:
            for follower in self._followers:
                group.create_task(follower.run())
            group.create_task(self._profiles.run())
            group.create_task(self._quotes.run())
            group.create_task(self._watch_keys())

    def stop(self) -> None:
        """Closes every subscription immediately and accepts no more clients."""
        self._stopping = True
        for queue in self._queues:
            queue.close(CloseReason.STOPPING)

    async def prepare(self, caller: Principal, since: str, seen: Position, *, notified: bool) -> SubscriptionRequest:
        """Resolves and checks where a client's events begin; holds nothing for the client yet.

        `since`: the client's position; empty for now, which is never before `seen`.

        Raises:
            Invalid: the position is not one of this system.
            Unavailable: the streams are not followed now, or the gateway is stopping.
            Overloaded, RateLimited: too many clients, in total or of this user.
        """
        self._admit(caller.user_id)
        channels = CHANNELS if notified else STREAMS
        try:
            position = self._sealed.open(since)
        except Invalid as error:
            raise invalid_position() from error
        start = await resolve_start(self._hub, position, seen, channels)
        # Other clients may have connected during the wait.
        self._admit(caller.user_id)
        return SubscriptionRequest(caller, start)

    @asynccontextmanager
    async def subscribe(self, beginning: SubscriptionRequest, kind: str) -> AsyncIterator[Subscription]:
        """The client's subscription; counts as a client until the end. `kind`: of connection, for the metrics."""
        caller = beginning.caller
        queue = ClientQueue(
            caller.user_id,
            caller.session_id,
            notified=len(beginning.positions) > len(STREAMS),
            expires_at=caller.expires_at + self._session_seconds,
        )
        self._queues[queue] = caller.key_id
        self._clients[caller.user_id] += 1
        self._metrics.opened(kind)
        if self.listener is not None:
            self.listener.on_connect(queue)
        if self._stopping:
            queue.close(CloseReason.STOPPING)
        if self._keys.find(caller.key_id) is None:
            queue.close(CloseReason.KEY)

        def ended(reason: str | None) -> None:
            if reason is None:
                queue.close(CloseReason.SESSION_UNKNOWN)
            else:
                queue.close(CloseReason.SESSION, reason)

        try:
            with self._revocations.watch_session(caller.session_id, ended):
                async with Subscription(
                    self._hub,
                    self._backfill,
                    queue,
                    beginning.positions,
                    still_active=self._still_active,
                    slots=self._slots,
                    mutes=self._mutes,
                    quotes=self._quotes,
                    handed_out=self._metrics.delivered.add,
                    heartbeat=self._heartbeat,
                ) as feed:
                    yield feed
        finally:
            if self.listener is not None:
                self.listener.on_disconnect(queue)
            del self._queues[queue]
            self._clients[caller.user_id] -= 1
            if not self._clients[caller.user_id]:
                del self._clients[caller.user_id]
            self._metrics.ended(kind, queue.end or CloseReason.DISCONNECTED)

    def offer(self, user_id: str, type_: str, data: bytes) -> None:
        """Offers an ephemeral event to all clients of the user here."""
        self._hub.offer(user_id, type_, data)

    def friends_here(self, user_id: str) -> Collection[str]:
        """The friends of the user who are known to this gateway, such as those who are connected to it."""
        return self._hub.friend_index.friends_of(user_id)

    async def friends(self, user_id: str, seen: Position) -> Collection[str]:
        """All friends of the user, at least as of the position; loaded once, then kept current by events.

        Raises:
            Unavailable: the streams are not followed now.
            ReadModelBehind: the position was not reached in time.
            VestnikError: contact does not answer.
        """
        if not self._hub.begun or not self.alive:
            raise Unavailable
        if not await self._hub.until_reached({CONTACT: seen.sequence(CONTACT)}, _PATIENCE):
            raise ReadModelBehind
        index = self._hub.friend_index
        friend_set = await index.acquire(user_id, self._hub.position(CONTACT), lambda: self._hub.position(PROFILE))
        index.release(user_id, friend_set)
        return friend_set.friends

    def forget_texts(self) -> None:
        """Drops the texts of messages and profiles that are kept for clients who resume: a user was erased."""
        self._hub.forget_texts()

    # StreamListener

    def on_start(self, stream: str, sequence: int) -> None:
        if stream in STREAMS:
            self._hub.start_stream(stream, sequence)

    def on_batch(self, stream: str, batch: ReadBatch) -> None:
        if stream not in STREAMS:
            return
        for message in batch.messages:
            event = _opened(message)
            if event is not None:
                self._publish(event)
        if stream == PROFILE:
            self._profiles.reached(batch.position)
        else:
            self._hub.advance(stream, batch.position)

    def _publish(self, event: Recorded[Event]) -> None:
        match event.data:
            case ProfileUpdated() as updated:
                if self.listener is not None:
                    self.listener.on_settings(event.aggregate_id, updated.presence == "nobody")
                self._profiles.add(event)
                return
            case FriendshipAccepted() as agreed:
                self._hub.friend_index.changed(agreed.requester_id, agreed.addressee_id, True)
            case FriendshipRemoved() as ended:
                self._hub.friend_index.changed(ended.remover_id, ended.other_id, False)
                if self.listener is not None:
                    self.listener.on_friendship_removed(ended.remover_id, ended.other_id)
            case ConversationUpdated() as settings:
                until = settings.muted_until.timestamp() if settings.muted_until is not None else 0.0
                for peer_id in settings.members:
                    self._mutes.changed(settings.user_id, peer_id, until)
            case MessageEdited() as edited:
                self._quotes.changed(edited.message_id, QuotedText(edited.text, False))
            case MessageDeleted() as deleted:
                self._quotes.changed(deleted.message_id, QuotedText("", True))
            case SessionRefreshed() as refreshed:
                self._hub.refreshed(refreshed.user_id, event.aggregate_id, refreshed.expires_at.timestamp())
        began = time.time_ns() if spans.is_on() else None
        some, clients = False, 0
        for outbound in fan_out(event):
            clients += self._hub.publish(outbound)
            some = True
        if some:
            self._metrics.observe_lag(time.time() - event.at.timestamp())
        if clients and began is not None:
            record_delivery(event, clients, began)

    def _attached(self, queue: ClientQueue) -> None:
        if self.listener is not None:
            self.listener.on_attach(queue)

    def _restart_all(self, sequence: int) -> None:
        """Closes every client, because the queue of profile updates is full.

        A client that may have missed one reconnects and finds it in its backfill.
        """
        log.error("the profile service lags too far: disconnecting all live clients, which resume from their positions")
        for queue in self._queues:
            queue.close(CloseReason.RESTART)
        self._hub.friend_index.clear()
        self._hub.mark_lost(PROFILE, sequence)

    async def _watch_keys(self) -> None:
        """Closes connections opened with a token of a removed key: an attacker with a stolen key may have opened them.

        The owner of the session reconnects with the next token.
        """
        edition = self._keys.generation
        while True:
            await asyncio.sleep(_CHECK_SECONDS)
            self._keys.reload_if_changed()
            if edition == self._keys.generation:
                continue
            edition = self._keys.generation
            for queue, key_id in self._queues.items():
                if self._keys.find(key_id) is None:
                    queue.close(CloseReason.KEY)

    def _admit(self, user_id: str) -> None:
        if self._stopping or not self._hub.begun or not self.alive:
            raise Unavailable
        if len(self._queues) >= MOST_CLIENTS:
            raise Overloaded(retry_after=_AGAIN_AFTER)
        if self._clients[user_id] >= MOST_OF_ONE:
            raise RateLimited("Too many live connections of one user.", retry_after=_AGAIN_AFTER)

    async def _still_active(self, session_id: str) -> bool:
        remote = self._remotes.session
        call = Call(request_id=new_id(), caller="gateway")
        request = ValidateSessionRequest(session_id=session_id)
        return (await remote.read(remote.stub.validate_session, request, context=call)).active


def _opened(message: Message) -> Recorded[Event] | None:
    try:
        return message.open()
    except LookupError as error:
        # Of a later release, which runs beside this one during an upgrade.
        log.info("event %d of %s is not delivered: %s", message.sequence, message.stream, error)
        return None
    except msgspec.DecodeError as error:
        # One invalid event must not stop delivery to all clients; the projections record it.
        log.error("event %d of %s cannot be delivered: %s", message.sequence, message.stream, type(error).__name__)
        return None
