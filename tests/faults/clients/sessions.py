"""A user who logs in again and again: sessions that are revoked, and refresh tokens that are spent twice."""

import asyncio

from tests.faults.clients import calls
from tests.faults.clients.account import Account
from tests.faults.clients.activity import Activity
from tests.faults.clients.client import Client, Session
from tests.faults.clients.gateways import Gateways
from tests.faults.history import now

_PAUSE = 0.3


class Visits(Activity):
    def __init__(self, gateways: Gateways, number: int, tried_for: float) -> None:
        """`tried_for`: seconds for which an ended session is tried; longer than the bound of a revocation."""
        self._account = Account(gateways, f"elena{number}")
        super().__init__([self._account])
        self._gateways = gateways
        self._tried_for = tried_for

    async def work(self) -> None:
        """Begins sessions and ends them, by a revocation and by a reuse in turn, until `stop`."""
        endings = (self._revoke, self._reuse)
        while not self.stopping.is_set():
            for end in endings:
                session = await self._account.log_in()
                device = Client(self._gateways, f"{self._account.name} device", session)
                await device.attempt(calls.look())
                if await end(session):
                    await self._try(device)
            self.rounds += 1

    async def _revoke(self, session: Session) -> bool:
        """Ends the session from the account's first one."""
        answer = await self._account.client("owner").repeat(calls.revoke(session.session_id))
        return answer.is_ok

    async def _reuse(self, session: Session) -> bool:
        """Spends the first refresh token again after its successor was used."""
        visitor = Client(self._gateways, f"{self._account.name} thief")
        first = session.refresh_token
        for _ in range(2):
            if not await session.renew(self._gateways, session.access_token):
                return False
        await visitor.repeat(calls.refresh(session.session_id, first))
        return True

    async def _try(self, device: Client) -> None:
        """Uses the tokens of a session that has ended for as long as they might be good."""
        assert device.session is not None
        until = now() + self._tried_for
        while now() < until:
            await device.attempt(calls.look())
            await asyncio.sleep(_PAUSE)
        visitor = Client(self._gateways, f"{self._account.name} device without a token")
        await visitor.attempt(calls.refresh(device.session.session_id, device.session.refresh_token))
