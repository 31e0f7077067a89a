"""Login: whether a login and a password belong together, answered from the streams.

Not from the read model, so that register, verify, login works at any speed. An unknown login takes the same steps
as a known one, a bcrypt check among them, and gets the same answer: nobody can find out who has an account.
"""

from contracts.errors import EmailNotVerified, InvalidCredentials
from contracts.rpc.vestnik.session.v1 import Tokens
from services.auth.aggregates import Aggregates
from services.auth.claims import ClaimKeys
from services.auth.clients import Sessions
from services.auth.passwords import Passwords

# Stands for whoever holds an unknown login: has no user, no credential, and costs the same look-ups.
_NOBODY = "00000000-0000-0000-0000-000000000000"


class Login:
    def __init__(self, aggregates: Aggregates, passwords: Passwords, keys: ClaimKeys, sessions: Sessions) -> None:
        self._aggregates = aggregates
        self._passwords = passwords
        self._keys = keys
        self._sessions = sessions

    async def login(self, *, login: str, password: str, device: str, address: str) -> Tokens:
        """Begins a session for whoever knows the password.

        Raises:
            InvalidCredentials: the login is not known or the password is another.
            EmailNotVerified: both are right, but the address was never verified.
            Overloaded: too many passwords are waiting to be checked.
        """
        user_id = await self._holder(login) or _NOBODY
        user = (await self._aggregates.users.load(user_id)).state
        credential = (await self._aggregates.credentials.load(user_id)).state
        if not await self._passwords.matches(password, credential.password_hash):
            raise InvalidCredentials
        if not user.email_verified:
            raise EmailNotVerified
        return await self._sessions.create(user_id=user_id, username=user.username, device=device, address=address)

    async def _holder(self, login: str) -> str | None:
        if "@" in login:
            return (await self._aggregates.email_claims.load(self._keys.of_email(login))).state.holder
        return (await self._aggregates.username_claims.load(self._keys.of_username(login))).state.holder
