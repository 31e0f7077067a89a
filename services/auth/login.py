"""Login: checks a login and a password against the streams, then creates a session.

It bypasses the read model, so a login right after registration and verification works however far the read model lags.
An unknown login takes the same steps as a known one, including a bcrypt check, and gets the same response: a caller
cannot find out who has an account. Failures are recorded in the background (failures/failed_logins.py).
"""

import logging
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime

import msgspec

from contracts import envelope
from contracts.errors import (
    EmailNotVerified,
    Invalid,
    InvalidCredentials,
    Overloaded,
    RateLimited,
    SessionNotFound,
)
from contracts.events.login_failure import FailureReason
from contracts.rpc.vestnik.session.v1 import Tokens
from infra.rpc.call_context import current
from services.auth import domain
from services.auth.claim_keys import ClaimKeys
from services.auth.clients import Sessions
from services.auth.domain import NOBODY, Credential
from services.auth.failures.failed_logins import FailedLogins
from services.auth.passwords.change import Addresses
from services.auth.passwords.hashing import Passwords
from services.auth.registration.email_lookup import email_key
from services.auth.repositories import Aggregates
from services.auth.tokens.device_tokens import DeviceTokens

log = logging.getLogger(__name__)


class LoggedIn(msgspec.Struct, frozen=True):
    tokens: Tokens
    # Identifies the device at its next login.
    device_token: str


class Login:
    def __init__(
        self,
        aggregates: Aggregates,
        passwords: Passwords,
        keys: ClaimKeys,
        sessions: Sessions,
        devices: DeviceTokens,
        addresses: Addresses,
        failures: FailedLogins,
        *,
        clock: Callable[[], datetime] = envelope.now,
    ) -> None:
        self._aggregates = aggregates
        self._passwords = passwords
        self._keys = keys
        self._sessions = sessions
        self._devices = devices
        self._addresses = addresses
        self._failures = failures
        self._clock = clock

    async def login(
        self,
        *,
        login: str,
        password: str,
        device: str,
        address: str,
        device_token: str = "",
        known_device_only: bool = False,
    ) -> LoggedIn:
        """Checks the password and creates a session.

        `known_device_only`: there were too many guesses at this login, whether or not it has an account.

        Raises:
            RateLimited: only a known device may log in now, and `device_token` is not from one.
            InvalidCredentials: unknown login or wrong password.
            EmailNotVerified: the username and the password are right, but the address, which the error names, was
                never verified.
            Overloaded: too many passwords are waiting to be checked.
        """
        holder = await self._holder(login)
        user_id = holder or NOBODY
        user = (await self._aggregates.users.load(user_id)).state
        credential = (await self._aggregates.credentials.load(user_id)).state
        known = bool(device_token) and self._devices.knows(device_token, user_id, credential.generation)
        if known_device_only and not known:
            self._failures.record(holder, "rate_limited", address=address, device=device)
            raise RateLimited
        if not await self._passwords.matches(password, credential.hashed):
            reason: FailureReason = "unknown_login" if holder is None else "wrong_password"
            self._failures.record(holder, reason, address=address, device=device)
            raise InvalidCredentials
        if not user.email_verified:
            self._failures.record(holder, "email_not_verified", address=address, device=device)
            email = await self._addresses(user_id)
            raise EmailNotVerified(members={"email": email} if email else {})
        await self._rehash(user_id, credential, password)
        tokens = await self._sessions.create(
            user_id=user_id,
            username=user.username,
            device=device,
            address=address,
            credential=credential.generation,
            new_device=not known,
        )
        await self._confirm(tokens, credential)
        return LoggedIn(tokens, device_token if known else self._devices.make(user_id, credential.generation))

    async def _confirm(self, tokens: Tokens, credential: Credential) -> None:
        """Confirms after creating the session that the password is still the one that was checked.

        A concurrent change is either in the stream by now and found here, or comes later and ends this session with
        the others.

        Raises:
            InvalidCredentials: the password was changed meanwhile; the session has ended without its tokens being
                returned.
        """
        now = (await self._aggregates.credentials.load(tokens.user_id)).state
        if now.generation == credential.generation:
            return
        with suppress(SessionNotFound):
            await self._sessions.end(user_id=tokens.user_id, session_id=tokens.session_id, reason=now.changed_by)
        raise InvalidCredentials

    async def _rehash(self, user_id: str, credential: Credential, password: str) -> None:
        """Upgrades an outdated hash; skipped while the hashing queue is full."""
        if credential.hashed is None or not self._passwords.is_outdated(credential.hashed):
            return
        try:
            hashed = await self._passwords.hash(password)
        except (Overloaded, Invalid):
            # Invalid: an older password of 8 bytes but fewer characters keeps its hash.
            return
        await self._aggregates.credentials.execute(
            user_id, lambda state: domain.decide_rehash(state, credential, hashed), current().provenance()
        )

    async def _holder(self, login: str) -> str | None:
        if "@" in login:
            key = await email_key(self._aggregates.addresses, self._keys, login)
            return (await self._aggregates.addresses.load(key)).state.owner
        name = (await self._aggregates.usernames.load(self._keys.of_username(login))).state
        return name.holder_at(self._clock())
