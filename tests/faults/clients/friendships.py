"""Two people whose friendship ends and begins again; both write and read all the time."""

import asyncio
import itertools

from tests.faults.clients import calls
from tests.faults.clients.account import Account, befriend
from tests.faults.clients.activity import Activity
from tests.faults.clients.client import Client
from tests.faults.clients.gateways import Gateways
from tests.faults.clients.mails import Mails

# Seconds for which friends, and then people who are none any more, write and read.
_TOGETHER, _APART = 3.0, 6.0
_PAUSE = 0.3


class Acquaintances(Activity):
    def __init__(self, gateways: Gateways, number: int) -> None:
        super().__init__([Account(gateways, f"{name}{number}") for name in ("carla", "david")])

    async def open(self, mails: Mails) -> None:
        await super().open(mails)
        await befriend(*self.accounts)

    async def work(self) -> None:
        """Ends the friendship and makes it again, until `stop`; leaves the two as friends."""
        one, other = self.accounts
        async with asyncio.TaskGroup() as tasks:
            for account, peer in self.pairs:
                tasks.create_task(self._try(account.client("rest"), peer))
            while not self.stopping.is_set():
                await self.pause(_TOGETHER)
                await one.client("removal").repeat(calls.unfriend(other.user_id))
                await self.pause(_APART)
                await befriend(one, other)
                self.rounds += 1
                one, other = other, one

    async def _try(self, client: Client, peer: Account) -> None:
        for number in itertools.count(1):
            if self.stopping.is_set():
                return
            text = f"{number} of {client.name}"
            await client.attempt(calls.send(peer.user_id, text, f"try-{number}"))
            await client.attempt(calls.read(peer.user_id))
            await asyncio.sleep(_PAUSE)
