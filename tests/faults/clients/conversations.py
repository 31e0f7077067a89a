"""Two friends who write to each other all the time, read what they have written, and follow each other's messages."""

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator
from random import random

from tests.faults.clients import calls
from tests.faults.clients.account import Account, befriend
from tests.faults.clients.activity import Activity
from tests.faults.clients.client import Answer
from tests.faults.clients.followers import EventsFollower, Follower, WebSocketFollower
from tests.faults.clients.gateways import Gateways
from tests.faults.clients.mails import Mails
from tests.faults.history import now

# Two people, each over REST and over a WebSocket.
WRITERS = 4
# A writer reads after each so many messages.
_READ_EVERY = 3
# Seconds after which a reader tries again, so that an outage is not made longer by it.
_AFTER_FAILURE = 1.0


class Friends(Activity):
    """One conversation; each of the two writes over REST and over a WebSocket, and follows over both transports."""

    def __init__(self, gateways: Gateways, number: int, interval: float) -> None:
        """`interval`: seconds from one message of a writer to its next one, if the answer comes earlier."""
        super().__init__([Account(gateways, f"{name}{number}") for name in ("anna", "boris")])
        self.followers: list[Follower] = []
        # By user: how many messages were acknowledged.
        self.acknowledged: Counter[str] = Counter()
        self._newest = 0
        self._interval = interval

    async def open(self, mails: Mails) -> None:
        await super().open(mails)
        await befriend(*self.accounts)
        for account in self.accounts:
            self.acknowledged[account.user_id] = 0
            self.followers += [EventsFollower(account), WebSocketFollower(account)]
        for follower in self.followers:
            await follower.begin()

    async def work(self) -> None:
        """Writes and reads until `stop`; each writer then finishes its last message."""
        async with asyncio.TaskGroup() as tasks:
            for account, other in self.pairs:
                tasks.create_task(self._write(account, other))
                tasks.create_task(self._read(account, other))
                for follower in self._live(account):
                    tasks.create_task(self._write_live(follower, account, other))

    @property
    def have_all(self) -> bool:
        """Whether each follower has received every message up to the newest that was acknowledged."""
        return all(
            follower.received[other.user_id].all_up_to >= self._newest
            for account, other in self.pairs
            for follower in self.followers
            if follower.session.user_id == account.user_id
        )

    async def _write(self, account: Account, other: Account) -> None:
        client = account.client("rest")
        async for number in self._turns():
            text = f"rest {number} of {account.username}"
            self._count(account, await client.repeat(calls.send(other.user_id, text, f"rest-{number}")))
            if number % _READ_EVERY == 0:
                await client.attempt(calls.read(other.user_id))

    async def _write_live(self, follower: WebSocketFollower, account: Account, other: Account) -> None:
        async for number in self._turns():
            text = f"live {number} of {follower.client.name}"
            call = calls.send(other.user_id, text, f"live-{number}")
            self._count(account, await follower.repeat(call, "send"))

    async def _read(self, account: Account, other: Account) -> None:
        """Reads with the position of the read before, at whichever gateway."""
        client = account.client("reader")
        async for _ in self._turns():
            if not (await client.attempt(calls.read(other.user_id))).is_ok:
                await self.pause(_AFTER_FAILURE)

    def _live(self, account: Account) -> list[WebSocketFollower]:
        return [
            follower
            for follower in self.followers
            if isinstance(follower, WebSocketFollower) and follower.session.user_id == account.user_id
        ]

    def _count(self, account: Account, answer: Answer) -> None:
        if answer.is_ok:
            self.acknowledged[account.user_id] += 1
            self._newest = max(self._newest, answer.body["sequence"])

    async def _turns(self) -> AsyncIterator[int]:
        """Numbers from 1 on, one in each interval, until `stop`; what took longer is not made up for."""
        # Writers do not all write at the same moment.
        await asyncio.sleep(self._interval * random())
        for number in itertools.count(1):
            if self.stopping.is_set():
                return
            due = now() + self._interval
            yield number
            await asyncio.sleep(max(0.0, due - now()))
