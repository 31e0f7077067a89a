"""A user's account, from its registration to its sessions."""

import asyncio
from uuid import uuid4

from tests.faults.clients import calls
from tests.faults.clients.client import PAUSE, Client, Session
from tests.faults.clients.gateways import Gateways
from tests.faults.clients.mails import Mails

PASSWORD = "a long enough passphrase"


class Account:
    def __init__(self, gateways: Gateways, name: str) -> None:
        self.gateways = gateways
        self.name = name
        self.username = f"{name}_{uuid4().hex[:10]}"
        self.email = f"{self.username}@example.test"
        self.user_id = ""
        # Of its clients.
        self.session: Session | None = None

    async def open(self, mails: Mails) -> None:
        """Registers the account, verifies it and logs in."""
        visitor = Client(self.gateways, f"{self.name} visitor")
        await visitor.repeat(calls.register(self.email, self.username, PASSWORD))
        (token,) = await mails.verification_tokens(self.email, 1)
        await visitor.repeat(calls.verify(self.email, token, PASSWORD))
        self.session = await self.log_in()
        self.user_id = self.session.user_id

    async def log_in(self) -> Session:
        visitor = Client(self.gateways, f"{self.name} visitor")
        answer = await visitor.repeat(calls.log_in(self.email, self.username, PASSWORD))
        assert answer.is_ok, f"{self.name} cannot log in: {answer.status} {answer.code}"
        return Session(answer.body)

    def client(self, device: str) -> Client:
        """A client of the account's session."""
        return Client(self.gateways, f"{self.name} {device}", self.session)


async def befriend(one: Account, other: Account) -> None:
    """Makes the two friends; a new account is known to contact soon after it was verified."""
    for asker, asked in ((one, other), (other, one)):
        client = asker.client("friends")
        while not (await client.repeat(calls.befriend(asked.user_id))).is_ok:
            await asyncio.sleep(PAUSE)
