"""The traffic of a run: all its clients, from their accounts to the whole conversations at the end."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import msgspec

from tests.faults.clients import calls
from tests.faults.clients.account import Account
from tests.faults.clients.activity import Activity
from tests.faults.clients.conversations import WRITERS, Friends
from tests.faults.clients.friendships import Acquaintances
from tests.faults.clients.gateways import Gateways
from tests.faults.clients.mails import Mails
from tests.faults.clients.registrations import Races
from tests.faults.clients.sessions import Visits
from tests.faults.history import FinalConversation, Message

_POLL = 0.05
# Activities that open their accounts, or read their conversations, at the same time.
_AT_A_TIME = 4


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How many clients of which kind."""

    conversations: int = 1
    # Seconds between two messages of each of a conversation's four writers; more if an answer takes longer.
    interval: float = 0.1
    friendships: int = 1
    visits: int = 1
    races: bool = True
    # Seconds for which an ended session is tried.
    tried_for: float = 9.0
    # How long followers may take to receive what is left at the end.
    delivered_within: float = 60.0
    # How long a writer may take at the end to get its last answer.
    answered_within: float = 180.0
    # How long the mails of the last registrations may take.
    mailed_within: float = 60.0

    @property
    def rate(self) -> float:
        """Messages a second, if each is answered within the interval."""
        return self.conversations * WRITERS / self.interval


class Traffic:
    def __init__(self, gateways: Gateways, mails: Mails, plan: Plan | None = None) -> None:
        self.plan = plan or Plan()
        self.friends = [
            Friends(gateways.part(f"conversation-{number}"), number, self.plan.interval)
            for number in range(1, self.plan.conversations + 1)
        ]
        self._races = [Races(gateways, mails)] if self.plan.races else []
        self._activities: list[Activity] = [
            *self.friends,
            *(
                Acquaintances(gateways.part(f"friendship-{number}"), number)
                for number in range(1, self.plan.friendships + 1)
            ),
            *(
                Visits(gateways.part(f"visits-{number}"), number, self.plan.tried_for)
                for number in range(1, self.plan.visits + 1)
            ),
            *self._races,
        ]
        self._mails = mails

    @property
    def acknowledged(self) -> int:
        return sum(friends.acknowledged.total() for friends in self.friends)

    async def open(self) -> None:
        """Opens all accounts, and makes friends."""
        some = asyncio.Semaphore(_AT_A_TIME)

        async def open_one(activity: Activity) -> None:
            async with some:
                await activity.open(self._mails)

        await asyncio.gather(*map(open_one, self._activities))

    @asynccontextmanager
    async def flowing(self) -> AsyncIterator[None]:
        """All clients are at work while the body runs. Then each finishes what it has begun, and receives what is left.

        Raises:
            TimeoutError: some request was not answered in time.
        """
        async with asyncio.TaskGroup() as tasks:
            following = [
                tasks.create_task(follower.follow()) for friends in self.friends for follower in friends.followers
            ]
            working = [tasks.create_task(activity.work()) for activity in self._activities]
            try:
                yield
                for activity in self._activities:
                    activity.stop()
                async with asyncio.timeout(self.plan.answered_within):
                    await asyncio.gather(*working)
                await self._deliver_rest()
            finally:
                for task in (*working, *following):
                    task.cancel()

    async def grows_by(self, messages: int, within: float = 120.0) -> None:
        """Waits until each person of each conversation had some more messages acknowledged.

        Raises:
            AssertionError: not in time.
        """
        goals = [
            (friends, user_id, count + messages)
            for friends in self.friends
            for user_id, count in friends.acknowledged.items()
        ]
        try:
            async with asyncio.timeout(within):
                while any(friends.acknowledged[user_id] < goal for friends, user_id, goal in goals):
                    await asyncio.sleep(_POLL)
        except TimeoutError:
            raise AssertionError(f"no {messages} more messages of each within {within:.0f} s") from None

    async def goes_round(self, rounds: int = 1, within: float = 180.0) -> None:
        """Waits until every activity besides conversations has done the whole of its work some more times.

        Raises:
            TimeoutError: not in time.
        """
        goals = [
            (activity, activity.rounds + rounds) for activity in self._activities if not isinstance(activity, Friends)
        ]
        async with asyncio.timeout(within):
            while any(activity.rounds < goal for activity, goal in goals):
                await asyncio.sleep(_POLL)

    async def registers(self, within: float = 60.0) -> None:
        """Waits until one more registration is acknowledged.

        Raises:
            TimeoutError: not in time.
        """
        before = self._registrations
        async with asyncio.timeout(within):
            while self._registrations == before:
                await asyncio.sleep(_POLL)

    @property
    def _registrations(self) -> int:
        return sum(len(races.registered) for races in self._races)

    async def read_whole(self) -> None:
        """Records each conversation as both of its people read it at the end."""
        some = asyncio.Semaphore(_AT_A_TIME)

        async def read_one(activity: Activity) -> None:
            async with some:
                await self._read_conversation(activity.pairs)

        await asyncio.gather(*(read_one(activity) for activity in self._activities if activity.pairs))

    async def _read_conversation(self, pairs: Sequence[tuple[Account, Account]]) -> None:
        """Reads a conversation whole, as each of its two people."""
        writer, reader = pairs[0]
        last = writer.client("end")
        await last.repeat(calls.send(reader.user_id, f"the last one of {writer.username}", "end"))
        for account, other in pairs:
            await self._read_whole(account, other, last.position)

    async def _read_whole(self, account: Account, other: Account, position: str) -> None:
        """Reads what there was at the position, in pages."""
        client = account.client("end")
        client.position = position
        messages: list[Message] = []
        while True:
            answer = await client.repeat(calls.page(other.user_id, messages[-1].sequence if messages else 0))
            assert answer.is_ok, f"{client.name} cannot read: {answer.status} {answer.code}"
            items = msgspec.convert(answer.body["items"], list[Message])
            messages += items
            if len(items) < calls.PAGE:
                break
        client.gateways.recorder.add(FinalConversation(reader=account.user_id, other=other.user_id, messages=messages))

    async def _deliver_rest(self) -> None:
        """Waits until followers have all messages, and registered addresses their mails.

        The checker says what is missing after the time.
        """
        try:
            async with asyncio.timeout(self.plan.delivered_within):
                while not all(friends.have_all for friends in self.friends):
                    await asyncio.sleep(_POLL)
        except TimeoutError:
            pass
        try:
            async with asyncio.timeout(self.plan.mailed_within):
                for activity in self._activities:
                    await activity.until_mailed()
        except TimeoutError:
            pass
        for friends in self.friends:
            for follower in friends.followers:
                follower.leave()
