"""The people of the history as users: registers, verifies and logs them in, and keeps their tokens fresh."""

import asyncio
import time

import msgspec

from infra.load.errors import LoadError, Refused
from infra.load.gateway_client import Gateway, problem, refusal
from infra.load.http_connections import Response
from infra.load.identities import Identity, Namespace
from infra.load.journal import Journal
from infra.load.mail_folder import Mailbox

_MAIL_WITHIN = 30.0
# The token has expired, or comes from an older system with the same mail directory.
_ANOTHER_MAIL = frozenset({410, 422})


class Session(msgspec.Struct):
    """The response to a login or a refresh."""

    user_id: str
    access_token: str
    refresh_token: str
    expires_in: int


class _Access(msgspec.Struct, frozen=True):
    token: str
    # Monotonic seconds from which on a new token is fetched; early enough for requests under way.
    stale_at: float


_SESSIONS = msgspec.json.Decoder(Session)


class People:
    """Provides a user id and a valid access token for every person of the history."""

    def __init__(self, gateway: Gateway, mailbox: Mailbox, journal: Journal, namespace: Namespace) -> None:
        self._gateway = gateway
        self._mailbox = mailbox
        self._journal = journal
        self._namespace = namespace
        self._access: dict[str, _Access] = {}
        self._fetching: dict[str, asyncio.Lock] = {}

    def user_id(self, name: str) -> str:
        """The user id of a person in the journal."""
        return self._journal.people[name].user_id

    async def recognised(self) -> bool:
        """Whether the gateway still knows the people of the journal; only the first one is checked."""
        for name in self._journal.people:
            try:
                await self._renew(name)
            except Refused as error:
                if error.code == "invalid_credentials":
                    return False
                raise
            return True
        return True

    async def meet(self, name: str) -> None:
        """Registers, verifies and logs in a person; one that an earlier run has registered is only logged in."""
        identity = self._namespace.identity(name)
        response = await self._gateway.ask("POST", "/v1/users", identity)
        if response.status == 201:
            await self._verify(identity)
        elif response.status != 409:
            raise refusal(response)
        await self._log_in(name, identity)

    async def ask(self, name: str, method: str, path: str, body: object | None = None) -> Response:
        """Sends a request as this person; a refused access token is renewed once."""
        response = await self._gateway.ask(method, path, body, token=await self._token(name))
        if response.status != 401:
            return response
        self._access.pop(name, None)
        return await self._gateway.ask(method, path, body, token=await self._token(name))

    async def _token(self, name: str) -> str:
        access = self._access.get(name)
        if access is not None and time.monotonic() < access.stale_at:
            return access.token
        async with self._fetching.setdefault(name, asyncio.Lock()):
            access = self._access.get(name)
            if access is None or time.monotonic() >= access.stale_at:
                await self._renew(name)
        return self._access[name].token

    async def _renew(self, name: str) -> None:
        known = self._journal.people[name]
        response = await self._gateway.ask("POST", "/v1/sessions/refresh", {"refresh_token": known.refresh_token})
        if response.status == 200:
            self._keep(name, response)
        elif response.status == 401:
            await self._log_in(name, self._namespace.identity(name))
        else:
            raise refusal(response)

    async def _log_in(self, name: str, identity: Identity) -> None:
        # By username: a login by an unverified address does not reveal that it is unverified.
        credentials = {"login": identity.username, "password": identity.password, "device": "vestnik load"}
        response = await self._gateway.ask("POST", "/v1/sessions", credentials)
        if response.status == 403 and problem(response).code == "email_not_verified":
            await self._verify(identity)
            response = await self._gateway.ask("POST", "/v1/sessions", credentials)
        if response.status != 201:
            raise refusal(response)
        self._keep(name, response)

    def _keep(self, name: str, response: Response) -> None:
        session = _SESSIONS.decode(response.body)
        lasting = session.expires_in - min(60.0, session.expires_in / 3)
        self._access[name] = _Access(session.access_token, time.monotonic() + lasting)
        self._journal.person(name, session.user_id, session.refresh_token)

    async def _verify(self, identity: Identity) -> None:
        """Verifies with the newest mail; requests another if it has expired or does not arrive.

        Raises:
            LoadError: no valid mail arrived.
        """
        known: frozenset[str] = frozenset()
        for mails in range(3):
            if mails > 0:
                await self._gateway.ask("POST", "/v1/users/resend-verification", {"email": identity.email})
            token = await self._mailbox.token(identity.email, timeout=_MAIL_WITHIN, other_than=known)
            if token is None:
                continue
            proof = {"token": token, "password": identity.password}
            response = await self._gateway.ask("POST", "/v1/users/verify-email", proof)
            if response.status == 204:
                return
            if response.status not in _ANOTHER_MAIL:
                raise refusal(response)
            known |= {token}
        raise LoadError(
            f"No valid verification mail for {identity.email} in {self._mailbox.directory}. Point --mail-dir at "
            "the mail directory of the running system, which must have no VESTNIK_SMTP_URL."
        )
