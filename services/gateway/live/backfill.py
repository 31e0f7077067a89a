"""Backfill: the events that a client missed, read page by page from the owners' read models."""

from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from contextlib import aclosing
from typing import Protocol

from contracts.errors import Unavailable
from contracts.notification_kinds import NOTIFICATION_CHANNELS, stream_of
from contracts.positions import Position
from contracts.rpc.vestnik.contact.v1 import BackfillRequest as ContactBackfill
from contracts.rpc.vestnik.contact.v1 import FriendState, GetFriendsRequest, IsFriendRequest, Relation
from contracts.rpc.vestnik.messaging.v1 import (
    BackfillNotificationsRequest,
    GetQuotesRequest,
    ListMutesRequest,
    QuotedMessage,
)
from contracts.rpc.vestnik.messaging.v1 import BackfillRequest as MessagingBackfill
from contracts.rpc.vestnik.profile.v1 import BackfillRequest as ProfileBackfill
from contracts.rpc.vestnik.session.v1 import BackfillRequest as SessionBackfill
from contracts.subjects import CONTACT, MESSAGING, PROFILE, SESSION
from contracts.values.ids import new_id
from infra.rpc.call_context import Call
from services.gateway.cache.quote_texts import Quoted, QuotedText, QuotedTexts
from services.gateway.clients import ServiceClients
from services.gateway.consistency.stream_follower import LastSequence
from services.gateway.live.client_queue import QueuedEvent
from streams.jetstream.api import Refused
from streams.jetstream.requests import RequestFailed

PAGE = 500
_FRIENDS_PAGE = 200
# Most users that the profile service accepts in one request.
_MOST_FRIENDS = 10_000


class BackfillEvent(Protocol):
    """An event of a backfill as a service sends it: each service has a protobuf message of this shape and name."""

    type: str
    sequence: int
    data: bytes


class EventPage:
    """Events after one sequence, up to another, oldest first."""

    def __init__(self, events: Sequence[QueuedEvent], reached: int) -> None:
        self.events = events
        # Everything up to here is in the page, or folded into a later event.
        self.reached = reached


class Backfill:
    def __init__(
        self,
        remotes: ServiceClients,
        last_sequence: LastSequence,
        *,
        confirm: Callable[[], None],
        page: int = PAGE,
    ) -> None:
        """`confirm`: raises Unavailable if the end of a stream may be older than what the cluster agrees on."""
        self._confirm = confirm
        self._remotes = remotes
        self._last_sequence = last_sequence
        self._page = page

    async def page(
        self, channel: str, user_id: str, friends: Collection[str], after: int, until: int, most_bytes: int
    ) -> EventPage:
        """The user's events of the channel after `after`, up to and including `until`.

        The page ends with the event that brings its data to `most_bytes`.

        Raises:
            VestnikError: the owner does not answer, or its read model has not reached `until`.
        """
        stream = stream_of(channel)
        position = Position.at(stream, until)
        if channel == MESSAGING:
            # Every sender before `until` was a friend by then; whether they still are must be known.
            position = position.merge(Position.at(CONTACT, await self._end_of(CONTACT)))
        call = Call(request_id=new_id(), position=position, actor=user_id, caller="gateway")
        queued: list[QueuedEvent] = []
        size = 0
        async with aclosing(self._ask(channel, stream, user_id, friends, after, most_bytes, call)) as events:
            async for event in events:
                if event.sequence > until:
                    # An event folded into one later than `until` is delivered with that one.
                    return EventPage(queued, until)
                queued.append(QueuedEvent(channel, event.sequence, event.type, event.data))
                size += len(event.data)
                if size >= most_bytes:
                    return EventPage(queued, event.sequence)
        return EventPage(queued, until if len(queued) < self._page else queued[-1].sequence)

    async def friends(self, user_id: str, contact: int) -> Collection[str]:
        """All friends of the user, once contact's read model has reached the sequence.

        Raises:
            VestnikError: contact does not answer, or lags.
        """
        remote, friends, cursor = self._remotes.contact, set[str](), ""
        call = Call(request_id=new_id(), position=Position.at(CONTACT, contact), actor=user_id, caller="gateway")
        while True:
            request = GetFriendsRequest(user_id=user_id, state=FriendState.ACCEPTED, limit=_FRIENDS_PAGE, cursor=cursor)
            answer = await remote.read(remote.stub.get_friends, request, context=call)
            friends |= {friend.user_id for friend in answer.friends}
            cursor = answer.next
            if not cursor:
                return friends

    async def mutes(self, user_id: str, messaging: int) -> Mapping[str, float]:
        """By the other person: until when the user has muted a conversation, once messaging has read to the sequence.

        Raises:
            VestnikError: messaging does not answer, or lags.
        """
        remote = self._remotes.messaging
        position = Position.at(MESSAGING, messaging)
        call = Call(request_id=new_id(), position=position, actor=user_id, caller="gateway")
        answer = await remote.read(remote.stub.list_mutes, ListMutesRequest(user_id=user_id), context=call)
        return {mute.peer_id: mute.muted_until / 1000 for mute in answer.mutes}

    async def quotes(self, messages: Sequence[Quoted], messaging: int) -> QuotedTexts:
        """The texts of quoted messages, once messaging has read to the sequence.

        Raises:
            VestnikError: messaging does not answer, or lags.
        """
        remote = self._remotes.messaging
        call = Call(request_id=new_id(), position=Position.at(MESSAGING, messaging), caller="gateway")
        request = GetQuotesRequest(
            messages=[
                QuotedMessage(conversation_id=quoted.conversation_id, sequence=quoted.sequence) for quoted in messages
            ]
        )
        answer = await remote.read(remote.stub.get_quotes, request, context=call)
        return {quote.message_id: QuotedText(quote.text, quote.deleted) for quote in answer.quotes}

    async def are_friends(self, user_id: str, other_id: str) -> bool:
        """Whether the two are friends now, according to the stream itself.

        Raises:
            VestnikError: contact does not answer.
        """
        call = Call(request_id=new_id(), actor=user_id, caller="gateway")
        request = IsFriendRequest(user_id=user_id, friend_id=other_id)
        answer = await self._remotes.contact.read(self._remotes.contact.stub.is_friend, request, context=call)
        return answer.relation == Relation.FRIENDS

    async def _end_of(self, stream: str) -> int:
        try:
            end = await self._last_sequence(stream)
        except (RequestFailed, Refused) as error:
            raise Unavailable(retry_after=1) from error
        if end is None:
            raise Unavailable(retry_after=1)
        self._confirm()
        return end

    def _ask(
        self,
        channel: str,
        stream: str,
        user_id: str,
        friends: Collection[str],
        after: int,
        most_bytes: int,
        call: Call,
    ) -> AsyncGenerator[BackfillEvent, None]:
        remotes, size = self._remotes, self._page
        if channel in NOTIFICATION_CHANNELS:
            return remotes.messaging.stream(
                remotes.messaging.stub.backfill_notifications,
                BackfillNotificationsRequest(user_id=user_id, stream=stream, after=after, limit=size),
                call,
            )
        if channel == SESSION:
            return remotes.session.stream(
                remotes.session.stub.backfill, SessionBackfill(user_id=user_id, after=after, limit=size), call
            )
        if channel == CONTACT:
            return remotes.contact.stream(
                remotes.contact.stub.backfill, ContactBackfill(user_id=user_id, after=after, limit=size), call
            )
        if channel == PROFILE:
            return self._profile_updates(friends, after, most_bytes, call)
        return remotes.messaging.stream(
            remotes.messaging.stub.backfill,
            MessagingBackfill(user_id=user_id, after=after, limit=size, most_bytes=most_bytes),
            call,
        )

    async def _profile_updates(
        self, friends: Collection[str], after: int, most_bytes: int, call: Call
    ) -> AsyncGenerator[BackfillEvent, None]:
        remote, people, client_events = self._remotes.profile, sorted(friends), list[BackfillEvent]()
        for begin in range(0, len(people), _MOST_FRIENDS):
            request = ProfileBackfill(user_ids=people[begin : begin + _MOST_FRIENDS], after=after, limit=self._page)
            size = 0
            async with aclosing(remote.stream(remote.stub.backfill, request, call)) as updates:
                async for update in updates:
                    client_events.append(update)
                    size += len(update.data)
                    # Later updates cannot be in the page.
                    if size >= most_bytes:
                        break
        client_events.sort(key=lambda event: event.sequence)
        for event in client_events[: self._page]:
            yield event
