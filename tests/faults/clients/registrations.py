"""Registrations that race for one address, and one name."""

import asyncio
from uuid import uuid4

from tests.faults.clients import calls
from tests.faults.clients.account import PASSWORD
from tests.faults.clients.activity import Activity
from tests.faults.clients.client import Client
from tests.faults.clients.gateways import Gateways
from tests.faults.clients.mails import Mails

_RACERS = 2
_MAILED_WITHIN = 60.0
# Each race costs seconds of processor time, for the digests of passwords.
_PAUSE = 5.0


class Races(Activity):
    def __init__(self, gateways: Gateways, mails: Mails) -> None:
        super().__init__()
        self._gateways = gateways
        self._mails = mails
        # Every address with a registration that was acknowledged.
        self.registered: list[str] = []

    async def work(self) -> None:
        """Runs one race after the other until `stop`."""
        while not self.stopping.is_set():
            await self._race_for_name()
            await self._race_for_address()
            self.rounds += 1
            await self.pause(_PAUSE)

    async def until_mailed(self) -> None:
        for email in self.registered:
            await self._mails.verification_tokens(email, 1)

    async def _race_for_name(self) -> None:
        """Several people register one name at the same moment; one of them gets it."""
        name = f"racer_{uuid4().hex[:10]}"
        await asyncio.gather(
            *(
                self._register(visitor, f"{name}.{number}@example.test", name)
                for number, visitor in enumerate(self._visitors())
            )
        )

    async def _race_for_address(self) -> None:
        """Several registrations of one address are verified at the same moment; one account gets it."""
        name = f"racer_{uuid4().hex[:10]}"
        email = f"{name}@example.test"
        visitors = self._visitors()
        names = [f"{name}_{number}" for number in range(_RACERS)]
        registered = await asyncio.gather(
            *(self._register(visitor, email, username) for visitor, username in zip(visitors, names, strict=True))
        )
        wanted = sum(registered)
        try:
            async with asyncio.timeout(_MAILED_WITHIN):
                tokens = await self._mails.verification_tokens(email, wanted)
        except TimeoutError:
            return
        await asyncio.gather(
            *(
                visitor.repeat(calls.verify(email, token, PASSWORD))
                for visitor, token in zip(visitors, tokens, strict=False)
            )
        )
        for visitor, username in zip(visitors, names, strict=True):
            await visitor.repeat(calls.log_in(email, username, PASSWORD))

    async def _register(self, visitor: Client, email: str, username: str) -> bool:
        """Whether the registration was accepted."""
        answer = await visitor.repeat(calls.register(email, username, PASSWORD))
        if answer.is_ok:
            self.registered.append(email)
        return answer.is_ok

    def _visitors(self) -> list[Client]:
        return [Client(self._gateways, f"racer {number}") for number in range(_RACERS)]
