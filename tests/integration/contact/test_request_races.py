"""Deadlines of friend requests race each other, and the answers of people, at one stream."""

import asyncio
from datetime import datetime, timedelta

import pytest
from nats.aio.client import Client

from contracts import envelope
from contracts.envelope import Recorded
from contracts.events.event import Event
from contracts.events.friendship import FriendshipAccepted, FriendshipCreated, FriendshipRemoved
from contracts.subjects import friendship
from contracts.values.ids import new_id
from infra.rpc.call_context import Call
from services.contact.commands import ContactCommands
from services.contact.domain import Relation
from services.contact.requests.domain import RequestTerms
from services.contact.requests.process import FriendRequestProcess
from services.contact.requests.queries import PendingRequest
from streams.log import Log

DAY = timedelta(days=1)


class AllUsersVerified:
    """Treats each id as a user's with a verified address and no pending request."""

    async def known(self, user_id: str) -> bool:
        return True

    async def pending(self, user_id: str, most: int) -> int:
        return 0


class NothingDue:
    async def due(
        self, terms: RequestTerms, now: datetime, limit: int, *, after: PendingRequest | None
    ) -> list[PendingRequest]:
        return []


class Replica:
    """What one process of contact has: its own cache, and a clock that is so many days ahead."""

    def __init__(self, nats: Client, terms: RequestTerms) -> None:
        self.log = Log(nats)
        self.ahead = timedelta(0)
        people = AllUsersVerified()
        self.commands = ContactCommands(self.log, people, people, most_pending=10)  # type: ignore[arg-type]  # a double
        self.process = FriendRequestProcess(self.log, NothingDue(), terms, clock=lambda: envelope.now() + self.ahead)

    async def add(self, user_id: str, friend_id: str) -> Relation:
        seen, _, _ = await self.commands.add(user_id, friend_id, Call(request_id=new_id(), actor=user_id))
        return seen

    async def events(self, request: PendingRequest) -> list[Recorded[Event]]:
        return [message.open() for message in await self.log.read(friendship(request.pair_id))]


async def test_two_replicas_remind_once_and_cancel_once(streams: Client, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "services.contact.requests.process")
    replicas = [Replica(streams, RequestTerms.of_days(1, 2)) for _ in range(2)]
    requests = [PendingRequest(new_id(), new_id(), envelope.now()) for _ in range(10)]
    for request in requests:
        await replicas[0].add(request.requester_id, request.addressee_id)
    for ahead in (DAY, DAY, 2 * DAY, 2 * DAY):
        for replica in replicas:
            # The reminder is dated now, since only the process's clock is ahead.
            replica.ahead = ahead
        await asyncio.gather(*(replica.process.act(request) for request in requests for replica in replicas))
    for request in requests:
        created, reminder, removed = [event.data for event in await replicas[0].events(request)]
        assert isinstance(created, FriendshipCreated)
        assert isinstance(reminder, FriendshipCreated)
        assert isinstance(removed, FriendshipRemoved)
        assert (created.is_reminder, reminder.is_reminder, removed.expired) == (False, True, True)
        assert caplog.text.count(request.pair_id) == 2
        assert request.requester_id not in caplog.text
        assert request.addressee_id not in caplog.text
    assert [caplog.text.count(act) for act in ("reminded of", "cancelled")] == [len(requests)] * 2


async def test_an_acceptance_and_a_cancellation_at_the_same_moment_have_one_order(streams: Client) -> None:
    one, other = (Replica(streams, RequestTerms.of_days(0, 2)) for _ in range(2))
    other.ahead = 2 * DAY
    for _ in range(20):
        request = PendingRequest(new_id(), new_id(), envelope.now())
        await one.add(request.requester_id, request.addressee_id)
        answer, _ = await asyncio.gather(
            one.add(request.addressee_id, request.requester_id), other.process.act(request)
        )
        _, *rest = [event.data for event in await one.events(request)]
        if answer is Relation.ACCEPTED:
            assert [type(event) for event in rest] == [FriendshipAccepted]
        else:
            # The request was gone, so the answer is a request of the one who answered.
            assert answer is Relation.OUTGOING
            assert [type(event) for event in rest] == [FriendshipRemoved, FriendshipCreated]
