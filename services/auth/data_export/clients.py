"""Reads a user's data from the services, as the user: page by page, with the queries that also serve clients."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeAlias, TypeVar

import msgspec

from contracts.envelope import Recorded
from contracts.errors import NotFriends, ProfileNotFound, Unavailable, VestnikError
from contracts.events.data_export import DataExportRequested
from contracts.positions import Position
from contracts.rpc.vestnik.contact.v1 import (
    ContactServiceStub,
    FriendState,
    GetFriendsRequest,
    ListBlockedRequest,
    ListFiledReportsRequest,
)
from contracts.rpc.vestnik.messaging.v1 import (
    GetMessagesRequest,
    ListClosedMessagesRequest,
    ListConversationsRequest,
    ListNotificationsRequest,
    MessagingServiceStub,
)
from contracts.rpc.vestnik.profile.v1 import GetOwnProfileRequest, GetProfileRequest, Profile, ProfileServiceStub
from contracts.rpc.vestnik.session.v1 import ListHistoryRequest, SessionServiceStub
from contracts.values.ids import new_id
from contracts.values.timestamps import rfc3339_of
from infra.rpc.call_context import Call
from infra.rpc.client import Client, Unary
from streams.lru_cache import LruCache
from streams.reactions.retries import may_pass

Item: TypeAlias = dict[str, Any]  # a JSON object
Pages: TypeAlias = AsyncIterator[list[Item]]
Rq = TypeVar("Rq")
Rs = TypeVar("Rs")

_PAGE = 200
_TIMEOUT = 7.0
# Seconds between the attempts of a read, so that a service that restarts does not make a long copy begin again.
_PAUSES = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
_NAMES = 10_000
_FRIEND_STATES = {
    FriendState.ACCEPTED: "accepted",
    FriendState.INCOMING: "incoming",
    FriendState.OUTGOING: "outgoing",
}


class Services:
    """Clients of the services that have data of users."""

    def __init__(self, client: Callable[[str], Client]) -> None:
        self.session = client("session")
        self.profile = client("profile")
        self.contact = client("contact")
        self.messaging = client("messaging")
        self.sessions = self.session.stub(SessionServiceStub)
        self.profiles = self.profile.stub(ProfileServiceStub)
        self.contacts = self.contact.stub(ContactServiceStub)
        self.messages = self.messaging.stub(MessagingServiceStub)


class OwnData:
    """The data of one user, as the services show it to them; at least what they had seen when they requested it.

    Each method raises VestnikError if a service refuses, or does not answer for a minute.
    """

    def __init__(self, services: Services, event: Recorded[DataExportRequested]) -> None:
        self._services = services
        self._user_id = event.aggregate_id
        self._context = Call(
            request_id=event.correlation_id or new_id(),
            traceparent=event.traceparent,
            actor=event.aggregate_id,
            position=Position.decode(event.data.position),
        )
        self._names: LruCache[str, str] = LruCache(_NAMES)

    async def profile(self) -> Item:
        services, request = self._services, GetOwnProfileRequest(user_id=self._user_id)
        profile = (await self._read(services.profile, services.profiles.get_own_profile, request)).profile
        assert profile is not None
        assert profile.settings is not None
        return {
            "user_id": profile.user_id,
            "username": profile.username,
            "display_name": profile.display_name,
            "bio": profile.bio,
            "avatar_url": profile.avatar_url or None,
            "verified": profile.verified,
            "updated_at": rfc3339_of(profile.updated_at),
            "presence": profile.settings.presence,
            "language": profile.settings.language or None,
        }

    async def name_of(self, user_id: str) -> str:
        """The name that another user's profile shows; the id if there is no profile."""
        name = self._names.get(user_id)
        if name is None:
            name = await self._shown_name(user_id) or user_id
            self._names.put(user_id, name)
        return name

    def sessions(self) -> Pages:
        async def page(cursor: str) -> tuple[list[Item], str]:
            services, request = self._services, ListHistoryRequest(user_id=self._user_id, limit=_PAGE, cursor=cursor)
            answer = await self._read(services.session, services.sessions.list_history, request)
            items: list[Item] = [
                {
                    "session_id": past.session_id,
                    "device": past.device,
                    "address": past.address,
                    "created_at": rfc3339_of(past.created_at),
                    "last_refreshed_at": rfc3339_of(past.last_refreshed_at),
                    "ended_at": None if past.ended_at is None else rfc3339_of(past.ended_at),
                    "reason": past.reason or None,
                }
                for past in answer.sessions
            ]
            return items, answer.next

        return _pages(page)

    def friends(self) -> Pages:
        async def page(cursor: str) -> tuple[list[Item], str]:
            services, request = self._services, GetFriendsRequest(user_id=self._user_id, limit=_PAGE, cursor=cursor)
            answer = await self._read(services.contact, services.contacts.get_friends, request)
            items: list[Item] = [
                {
                    "user_id": friend.user_id,
                    "state": _FRIEND_STATES[FriendState(friend.state)],
                    "since": rfc3339_of(friend.since),
                }
                for friend in answer.friends
            ]
            return items, answer.next

        return _pages(page)

    def blocks(self) -> Pages:
        async def page(cursor: str) -> tuple[list[Item], str]:
            services, request = self._services, ListBlockedRequest(user_id=self._user_id, limit=_PAGE, cursor=cursor)
            answer = await self._read(services.contact, services.contacts.list_blocked, request)
            items: list[Item] = [
                {"user_id": blocked.user_id, "since": rfc3339_of(blocked.since)} for blocked in answer.blocked
            ]
            return items, answer.next

        return _pages(page)

    def reports(self) -> Pages:
        async def page(cursor: str) -> tuple[list[Item], str]:
            services = self._services
            request = ListFiledReportsRequest(user_id=self._user_id, limit=_PAGE, cursor=cursor)
            answer = await self._read(services.contact, services.contacts.list_filed_reports, request)
            items: list[Item] = [
                {
                    "report_id": report.report_id,
                    "user_id": report.user_id,
                    "reason": report.reason,
                    "comment": report.comment,
                    "message_ids": list(report.message_ids),
                    "filed_at": rfc3339_of(report.filed_at),
                }
                for report in answer.reports
            ]
            return items, answer.next

        return _pages(page)

    def notifications(self) -> Pages:
        async def page(cursor: str) -> tuple[list[Item], str]:
            services = self._services
            request = ListNotificationsRequest(user_id=self._user_id, limit=_PAGE, cursor=cursor)
            answer = await self._read(services.messaging, services.messages.list_notifications, request)
            items: list[Item] = [
                {
                    "notification_id": notification.notification_id,
                    "kind": notification.kind,
                    "from_user_id": notification.from_user_id,
                    "at": rfc3339_of(notification.at),
                    "read": notification.read,
                }
                for notification in answer.notifications
            ]
            return items, answer.next

        return _pages(page)

    def conversations(self) -> Pages:
        """The open conversations with the user's settings and drafts."""

        async def page(cursor: str) -> tuple[list[Item], str]:
            services = self._services
            request = ListConversationsRequest(user_id=self._user_id, limit=_PAGE, cursor=cursor)
            answer = await self._read(services.messaging, services.messages.list_conversations, request)
            if answer.drafts_unavailable:
                raise Unavailable("The drafts cannot be read at the moment.")
            return msgspec.json.decode(answer.items, type=list[Item]), answer.next

        return _pages(page)

    async def messages(self, peer_id: str) -> Pages:
        """The messages with another user, oldest first; ends early if the friendship is removed meanwhile."""
        services, after, more = self._services, 0, True
        while more:
            request = GetMessagesRequest(user_id=self._user_id, peer_id=peer_id, after=after, limit=_PAGE)
            try:
                answer = await self._read(services.messaging, services.messages.get_messages, request)
            except NotFriends:
                return
            if items := msgspec.json.decode(answer.items, type=list[Item]):
                yield items
            after, more = answer.last, answer.more and answer.last > after

    def closed_messages(self) -> Pages:
        """The user's own messages in conversations that are closed, by the other person, oldest first."""

        async def page(cursor: str) -> tuple[list[Item], str]:
            services = self._services
            request = ListClosedMessagesRequest(user_id=self._user_id, limit=_PAGE, cursor=cursor)
            answer = await self._read(services.messaging, services.messages.list_closed_messages, request)
            return msgspec.json.decode(answer.items, type=list[Item]), answer.next

        return _pages(page)

    async def _shown_name(self, user_id: str) -> str | None:
        services, request = self._services, GetProfileRequest(user_id=user_id)
        try:
            profile: Profile | None = (
                await self._read(services.profile, services.profiles.get_profile, request)
            ).profile
        except ProfileNotFound:
            return None
        return f"{profile.display_name} (@{profile.username})" if profile is not None else None

    async def _read(self, client: Client, method: Unary[Rq, Rs], request: Rq) -> Rs:
        pauses = iter(_PAUSES)
        while True:
            try:
                return await client.call(method, request, timeout=_TIMEOUT, idempotent=True, context=self._context)
            except VestnikError as error:
                pause = next(pauses, None)
                if pause is None or not may_pass(error):
                    raise
                await asyncio.sleep(pause)


async def _pages(page: Callable[[str], Awaitable[tuple[list[Item], str]]]) -> Pages:
    items, cursor = await page("")
    yield items
    while cursor:
        items, cursor = await page(cursor)
        yield items
