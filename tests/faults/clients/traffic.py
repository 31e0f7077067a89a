"""The traffic of a run: all its clients, from their accounts to the whole conversations at the end."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from tests.faults.clients import calls
from tests.faults.clients.account import Account
from tests.faults.clients.activity import Activity
from tests.faults.clients.conversations import Friends
from tests.faults.clients.friendships import Acquaintances
from tests.faults.clients.gateways import Gateways
from tests.faults.clients.mails import Mails
from tests.faults.clients.registrations import Races
from tests.faults.clients.sessions import Visits
from tests.faults.history import FinalConversation, Message

_POLL = 0.05


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How many clients of which kind."""

    conversations: int = 1
    # Seconds between an answer and the next message of each of a conversation's four writers.
    pause: float = 0.1
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


class Traffic:
    def __init__(self, gateways: Gateways, mails: Mails, plan: Plan | None = None) -> None:
        self.plan = plan or Plan()
        self._gateways = gateways
        self.friends = [Friends(gateways, number + 1, self.plan.pause) for number in range(self.plan.conversations)]
        self._activities: list[Activity] = [
            *self.friends,
            *(Acquaintances(gateways, number + 1) for number in range(self.plan.friendships)),
            *(Visits(gateways, number + 1, self.plan.tried_for) for number in range(self.plan.visits)),
            *([Races(gateways, mails)] if self.plan.races else []),
        ]
        self._mails = mails

    @property
    def acknowledged(self) -> int:
        return sum(len(sequences) for friends in self.friends for sequences in friends.acknowledged.values())

    async def open(self) -> None:
        """Opens all accounts, and makes friends."""
        await asyncio.gather(*(activity.open(self._mails) for activity in self._activities))

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
            (sequences, len(sequences) + messages)
            for friends in self.friends
            for sequences in friends.acknowledged.values()
        ]
        try:
            async with asyncio.timeout(within):
                while any(len(sequences) < goal for sequences, goal in goals):
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

    async def read_whole(self) -> None:
        """Records each conversation as both of its people read it at the end."""
        for activity in self._activities:
            if not activity.pairs:
                continue
            writer, reader = activity.pairs[0]
            last = writer.client("end")
            await last.insist(calls.send(reader.user_id, f"the last one of {writer.username}", "end"))
            for account, other in activity.pairs:
                await self._read_whole(account, other, last.position)

    async def _read_whole(self, account: Account, other: Account, position: str) -> None:
        """Reads what there was at the position, in pages."""
        client = account.client("end")
        client.position = position
        messages: list[Message] = []
        while True:
            answer = await client.insist(calls.page(other.user_id, messages[-1].sequence if messages else 0))
            assert answer.is_ok, f"{client.name} cannot read: {answer.status} {answer.code}"
            items = msgspec.convert(answer.body["items"], list[Message])
            messages += items
            if len(items) < calls.PAGE:
                break
        self._gateways.recorder.add(FinalConversation(reader=account.user_id, other=other.user_id, messages=messages))

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
