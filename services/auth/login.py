"""Login: checks a login and a password against the streams, then creates a session.

It bypasses the read model, so a login right after registration and verification works however far the read model lags.
An unknown login takes the same steps as a known one, including a bcrypt check, and gets the same response: a caller
cannot find out who has an account. A login cancels an erasure that was requested (erasure/commands.py). Failures are
recorded in the background (failures/failed_logins.py).
"""

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime

import msgspec

from contracts import envelope
from contracts.errors import (
    EmailNotVerified,
    Invalid,
    InvalidCredentials,
    InvalidTotp,
    Overloaded,
    RateLimited,
    SessionNotFound,
    TotpRequired,
    UserNotFound,
    VestnikError,
)
from contracts.events.login_failure import FailureReason
from contracts.events.second_factor import SecondFactorState
from contracts.rpc.vestnik.session.v1 import Tokens
from infra.rpc.call_context import current
from services.auth import domain
from services.auth.claim_keys import ClaimKeys
from services.auth.clients import Sessions
from services.auth.domain import ACCOUNT_ERASED, NOBODY, Credential, User
from services.auth.failures.failed_logins import FailedLogins
from services.auth.passwords.change import Addresses
from services.auth.passwords.hashing import Passwords
from services.auth.registration.decisions import as_of
from services.auth.registration.email_lookup import email_key
from services.auth.repositories import Aggregates
from services.auth.second_factor import domain as second_factor
from services.auth.second_factor.commands import SecondFactors
from services.auth.tokens.device_tokens import Device, DeviceTokens

log = logging.getLogger(__name__)
_REASONS: Mapping[type[VestnikError], FailureReason] = {
    TotpRequired: "code_required",
    InvalidTotp: "wrong_code",
    RateLimited: "rate_limited",
}


class LoggedIn(msgspec.Struct, frozen=True):
    tokens: Tokens
    # Identifies the device at its next login.
    device_token: str
    # Whether an erasure of the account had been requested, which this login has cancelled.
    erasure_cancelled: bool


class Login:
    def __init__(
        self,
        aggregates: Aggregates,
        passwords: Passwords,
        keys: ClaimKeys,
        sessions: Sessions,
        devices: DeviceTokens,
        second_factors: SecondFactors,
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
        self._second_factors = second_factors
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
        totp: str = "",
        proved_device_only: bool = False,
        session_id: str = "",
    ) -> LoggedIn:
        """Checks the password, and the second factor if it is on, and creates a session.

        `known_device_only`: there were too many guesses at this login, whether or not it has an account.

        `totp`: a code of the authenticator app, or a recovery code.

        `proved_device_only`: there were too many wrong codes at this login. A device that is known by the password
        alone is not enough: someone who guesses codes may have collected many tokens of such devices.

        `session_id`: of the session to create, so that a repeated login creates no second one; empty for a new one. A
        code is good once: a login with one cannot be repeated.

        Raises:
            RateLimited: only a known device may log in now, and `device_token` is not from one; or only a device that
                proved a code before may try another.
            InvalidCredentials: unknown login or wrong password.
            TotpRequired: the password is right, and a code is needed.
            InvalidTotp: the password is right, and the code is wrong or was used.
            EmailNotVerified: the username and the password are right, but the address, which the error names, was
                never verified.
            Overloaded: too many passwords are waiting to be checked.
        """
        reason: FailureReason
        holder, user = await self._account(login)
        user_id = holder or NOBODY
        credential = (await self._aggregates.credentials.load(user_id)).state
        factor = (await self._aggregates.second_factors.load(user_id)).state
        known = self._devices.find(device_token, user_id, credential.generation) if device_token else None
        if known_device_only and known is None:
            self._failures.record(holder, "rate_limited", address=address, device=device)
            raise RateLimited
        if not await self._passwords.matches(password, credential.hashed):
            reason = "unknown_login" if holder is None else "wrong_password"
            self._failures.record(holder, reason, address=address, device=device)
            raise InvalidCredentials
        if not user.email_verified:
            self._failures.record(holder, "email_not_verified", address=address, device=device)
            email = await self._addresses(user_id)
            raise EmailNotVerified(members={"email": email} if email else {})
        try:
            factor, proved = await self._prove(user_id, factor, known, totp, proved_device_only=proved_device_only)
        except (TotpRequired, InvalidTotp, RateLimited) as error:
            self._failures.record(holder, _REASONS[type(error)], address=address, device=device)
            raise
        await self._rehash(user_id, credential, password)
        try:
            tokens = await self._sessions.create(
                user_id=user_id,
                username=user.username,
                device=device,
                address=address,
                credential=credential.generation,
                new_device=known is None,
                second_factor=second_factor.is_on(factor),
                session_id=session_id,
            )
        except UserNotFound as error:
            # Erased since the password was checked: there is no key for the session's data any more.
            raise InvalidCredentials from error
        generation = await self._confirm(tokens, credential)
        erasure_cancelled = await self._cancel_erasure(tokens)
        if proved:
            device_token = self._devices.make(
                user_id, generation, second_factor=factor.generation, proved_at=self._clock()
            )
        elif known is None or generation != credential.generation:
            device_token = self._devices.make(user_id, generation)
        return LoggedIn(tokens, device_token, erasure_cancelled)

    async def _prove(
        self, user_id: str, factor: SecondFactorState, device: Device | None, totp: str, *, proved_device_only: bool
    ) -> tuple[SecondFactorState, bool]:
        """Checks the second factor; returns its state and whether a code was used up.

        A remembered device needs no code.

        Raises:
            TotpRequired: there is no code, and one is needed.
            InvalidTotp: the code is wrong or was used.
            RateLimited: there were too many wrong codes, and this device never proved one.
            Unavailable: the code cannot be checked; see second_factor/sealing.py.
        """
        if not second_factor.is_on(factor):
            return factor, False
        proved_before = device is not None and device.second_factor == factor.generation
        if totp and proved_device_only and not proved_before:
            raise RateLimited
        if totp:
            used = await self._second_factors.use(
                user_id, totp, msgspec.structs.replace(current().provenance(), actor=user_id)
            )
            return used, second_factor.is_on(used)
        if device is None or not second_factor.is_remembered(
            factor, device.second_factor, device.proved_at, self._clock()
        ):
            raise TotpRequired
        return factor, False

    async def _confirm(self, tokens: Tokens, credential: Credential) -> int:
        """Confirms after creating the session that the password is still the one that was checked.

        A concurrent change is either in the stream by now and found here, or comes later and ends this session with
        the others. Returns the credential's generation: a return to an earlier address begins one with the same
        password.

        Raises:
            InvalidCredentials: the password was changed meanwhile; the session has ended without its tokens being
                returned.
        """
        now = (await self._aggregates.credentials.load(tokens.user_id)).state
        if now.generation == credential.generation or now.hashed == credential.hashed:
            return now.generation
        with suppress(SessionNotFound):
            await self._sessions.end(user_id=tokens.user_id, session_id=tokens.session_id, reason=now.changed_by)
        raise InvalidCredentials

    async def _cancel_erasure(self, tokens: Tokens) -> bool:
        """Cancels an erasure that was requested, after creating the session; returns whether there was one.

        A concurrent request either is in the stream by now and is cancelled here, or comes later and ends this session.

        Raises:
            InvalidCredentials: the account was erased meanwhile; the session has ended.
        """
        user_id = tokens.user_id
        try:
            outcome = await self._aggregates.users.execute(
                user_id,
                lambda user: domain.decide_cancel_erasure(user, self._clock()),
                msgspec.structs.replace(current().provenance(), actor=user_id),
            )
        except InvalidCredentials:
            with suppress(SessionNotFound):
                await self._sessions.end(user_id=user_id, session_id=tokens.session_id, reason=ACCOUNT_ERASED)
            raise
        return bool(outcome.events)

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

    async def _account(self, login: str) -> tuple[str | None, User]:
        """Returns the account's user; no one where there is none, or one that is gone."""
        holder = await self._holder(login)
        user = (await self._aggregates.users.load(holder or NOBODY)).state
        return (None, User()) if user.is_gone(self._clock()) else (holder, user)

    async def _holder(self, login: str) -> str | None:
        if "@" in login:
            key = await email_key(self._aggregates.addresses, self._keys, login)
            return as_of((await self._aggregates.addresses.load(key)).state, self._clock()).owner
        name = (await self._aggregates.usernames.load(self._keys.of_username(login))).state
        return name.holder_at(self._clock())
