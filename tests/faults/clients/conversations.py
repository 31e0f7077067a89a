"""Two friends who write to each other all the time, read what they have written, and follow each other's messages."""

import asyncio
import itertools
from collections.abc import Iterator

from tests.faults.clients import calls
from tests.faults.clients.account import Account, befriend
from tests.faults.clients.activity import Activity
from tests.faults.clients.followers import EventsFollower, Follower, WebSocketFollower
from tests.faults.clients.gateways import Gateways
from tests.faults.clients.mails import Mails

# A writer reads after each so many messages.
_READ_EVERY = 3


class Friends(Activity):
    """One conversation; each of the two writes over REST and over a WebSocket, and follows over both transports."""

    def __init__(self, gateways: Gateways, number: int, pause: float) -> None:
        """`pause`: seconds between an answer and the next message of a writer."""
        super().__init__([Account(gateways, f"{name}{number}") for name in ("anna", "boris")])
        self.followers: list[Follower] = []
        self.acknowledged: dict[str, set[int]] = {}
        self._pause = pause

    async def open(self, mails: Mails) -> None:
        await super().open(mails)
        await befriend(*self.accounts)
        for account in self.accounts:
            self.acknowledged[account.user_id] = set()
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
                    tasks.create_task(self._write_live(follower, other))

    @property
    def have_all(self) -> bool:
        """Whether each follower has received every acknowledged message."""
        return all(
            follower.received.get(other.user_id, set()) >= set().union(*self.acknowledged.values())
            for account, other in self.pairs
            for follower in self.followers
            if follower.session.user_id == account.user_id
        )

    async def _write(self, account: Account, other: Account) -> None:
        client = account.client("rest")
        for number in self._numbers():
            text = f"rest {number} of {account.username}"
            answer = await client.insist(calls.send(other.user_id, text, f"rest-{number}"))
            if answer.is_ok:
                self.acknowledged[account.user_id].add(answer.body["sequence"])
            if number % _READ_EVERY == 0:
                await client.attempt(calls.read(other.user_id))
            await asyncio.sleep(self._pause)

    async def _write_live(self, follower: WebSocketFollower, other: Account) -> None:
        for number in self._numbers():
            text = f"live {number} of {follower.client.name}"
            answer = await follower.insist(calls.send(other.user_id, text, f"live-{number}"), "send")
            if answer.is_ok:
                self.acknowledged[follower.session.user_id].add(answer.body["sequence"])
            await asyncio.sleep(self._pause)

    async def _read(self, account: Account, other: Account) -> None:
        """Reads with the position of the read before, at whichever gateway."""
        client = account.client("reader")
        for _ in self._numbers():
            await client.attempt(calls.read(other.user_id))
            await asyncio.sleep(self._pause)

    def _live(self, account: Account) -> list[WebSocketFollower]:
        return [
            follower
            for follower in self.followers
            if isinstance(follower, WebSocketFollower) and follower.session.user_id == account.user_id
        ]

    def _numbers(self) -> Iterator[int]:
        return itertools.takewhile(lambda _: not self.stopping.is_set(), itertools.count(1))
