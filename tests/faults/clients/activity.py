"""What some users do all the time of a run."""

import asyncio
from collections.abc import Sequence

from tests.faults.clients.account import Account
from tests.faults.clients.mails import Mails


class Activity:
    """`accounts`: its users; two of them are friends."""

    def __init__(self, accounts: Sequence[Account] = ()) -> None:
        self.accounts = accounts
        self.stopping = asyncio.Event()
        # How often it has done the whole of its work.
        self.rounds = 0

    async def open(self, mails: Mails) -> None:
        """Opens the accounts, and whatever else the work needs."""
        await asyncio.gather(*(account.open(mails) for account in self.accounts))

    async def work(self) -> None:
        """Works until `stop`, and then finishes what it has begun."""
        raise NotImplementedError

    def stop(self) -> None:
        self.stopping.set()

    async def pause(self, seconds: float) -> None:
        """Waits for some seconds, or until `stop`."""
        try:
            async with asyncio.timeout(seconds):
                await self.stopping.wait()
        except TimeoutError:
            return

    async def until_mailed(self) -> None:
        """Waits for the mails that its work has caused."""

    @property
    def pairs(self) -> list[tuple[Account, Account]]:
        """Each of two friends, paired with the other."""
        if len(self.accounts) != 2:
            return []
        one, other = self.accounts
        return [(one, other), (other, one)]
