"""Password changes: with the current password, or with a mailed reset token.

First `password.changed` is appended, on the condition that the credential is still the one that was proved; this
makes the change effective. Then the sessions opened with an older credential are ended. If the process dies in
between, a reaction ends them (reactions.py), and a concurrent login with the old password checks the credential again
after creating its session (login.py).
"""

import logging
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Protocol

import msgspec

from contracts import envelope
from contracts.envelope import Provenance
from contracts.errors import InvalidCredentials, TokenExpired, VestnikError
from contracts.events.user import PasswordChanged
from contracts.positions import Position
from contracts.subjects import AUTH
from services.auth import domain
from services.auth.claim_keys import ClaimKeys
from services.auth.clients import Sessions
from services.auth.failures.failed_logins import FailedLogins
from services.auth.mail import mailbox_budgets
from services.auth.mail.decoy import record_decoy
from services.auth.passwords.hashing import Passwords, accepted
from services.auth.passwords.weak_passwords import WeakPasswords
from services.auth.registration.decisions import as_of
from services.auth.registration.email_lookup import email_key
from services.auth.repositories import Aggregates
from services.auth.tokens.device_tokens import DeviceTokens
from services.auth.tokens.password_reset import ResetTokens
from streams.repository import CommandResult

# Looks up a user's address; empty if it is not known.
Addresses = Callable[[str], Awaitable[str]]


class SecondFactor(Protocol):
    """The users' second factors (second_factor/commands.py)."""

    async def remove(
        self,
        user_id: str,
        *,
        reason: str,
        provenance: Provenance,
        on_between: tuple[datetime, datetime] | None = None,
    ) -> object:
        """Turns a user's second factor off; `on_between`: only if it was turned on in that time. Idempotent."""


async def remove_reported(
    second_factor: SecondFactor, user_id: str, event: PasswordChanged, reset_at: datetime, by: Provenance
) -> None:
    """Turns off a second factor that others may have turned on; called after a reset that follows a report.

    That is one that was turned on after `REPORT_REACH` before the reported event, and before the reset: the account's
    owner may have no code for it. One that was turned on after the reset stays, however late this runs.
    """
    if event.reported_at is not None:
        between = (event.reported_at - REPORT_REACH, reset_at)
        await second_factor.remove(user_id, reason=domain.NOT_ME, provenance=by, on_between=between)


log = logging.getLogger(__name__)
# How long before the event that its owner reports an account may have been in other hands: as long as a link is good.
REPORT_REACH = timedelta(days=7)
NEW_PASSWORD = "/new_password"  # noqa: S105  # where it stands in a request


class Changed(msgspec.Struct, frozen=True, kw_only=True):
    user_id: str
    # Covers the change and, if it succeeded, the end of the last session.
    position: Position
    # For the device that made the change.
    device_token: str


class PasswordChanges:
    def __init__(
        self,
        aggregates: Aggregates,
        passwords: Passwords,
        weak: WeakPasswords,
        addresses: Addresses,
        keys: ClaimKeys,
        tokens: ResetTokens,
        sessions: Sessions,
        devices: DeviceTokens,
        failures: FailedLogins,
        second_factor: SecondFactor,
        *,
        lifetime: timedelta,
        clock: Callable[[], datetime] = envelope.now,
    ) -> None:
        """`lifetime`: of a mailed reset token."""
        self._aggregates = aggregates
        self._passwords = passwords
        self._weak = weak
        self._addresses = addresses
        self._keys = keys
        self._tokens = tokens
        self._sessions = sessions
        self._devices = devices
        self._failures = failures
        self._second_factor = second_factor
        self._lifetime = lifetime
        self._clock = clock

    async def change(
        self, *, user_id: str, current: str, new: str, session_id: str, provenance: Provenance, address: str = ""
    ) -> Changed:
        """Changes the password and ends all sessions of the user except `session_id`.

        `address`: of the client, to be recorded if the current password is wrong.

        Raises:
            InvalidCredentials: the current password is wrong, or was changed meanwhile.
            Invalid: the new one is too short, too long, or weak.
            Overloaded: too many passwords are waiting.
        """
        accepted(new, NEW_PASSWORD)
        await self._refuse_weak(user_id, new)
        credential = (await self._aggregates.credentials.load(user_id)).state
        if not await self._passwords.matches(current, credential.hashed):
            self._failures.record(user_id, "wrong_password", address=address)
            raise InvalidCredentials
        new_hash = await self._passwords.hash(new, NEW_PASSWORD)
        outcome = await self._aggregates.credentials.execute(
            user_id,
            lambda state: domain.decide_change_password(state, credential.generation, new_hash, session_id),
            provenance,
        )
        return await self._changed(user_id, outcome, provenance)

    async def request_reset(self, email: str, provenance: Provenance) -> None:
        """Requests a reset mail if the address has an owner; the response does not reveal whether it has."""
        key = await email_key(self._aggregates.addresses, self._keys, email)
        owner = as_of((await self._aggregates.addresses.load(key)).state, self._clock()).owner
        user = (await self._aggregates.users.load(owner or domain.NOBODY)).state
        if user.is_gone(self._clock()):
            owner = None
        credential = (await self._aggregates.credentials.load(owner or domain.NOBODY)).state
        outcome = await self._aggregates.addresses.execute(
            key,
            lambda state: domain.decide_request_reset(
                state, owner, credential.generation, self._clock(), self._lifetime
            ),
            provenance,
        )
        if not outcome.events:
            await record_decoy(self._aggregates, mailbox_budgets.RESET_MAIL, provenance)

    async def reset(self, *, token: str, new: str, provenance: Provenance) -> Changed:
        """Sets a new password with a mailed token. Ends all sessions of the user; the token cannot be used again.

        Raises:
            InvalidToken: the signature is not ours.
            TokenExpired: it has expired or been used, or the password was changed since it was requested, or the
                account is gone.
            Invalid: the password is too short, too long, or weak.
            Overloaded: too many passwords are waiting.
        """
        accepted(new, NEW_PASSWORD)
        reset = self._tokens.read(token)
        credential = (await self._aggregates.credentials.load(reset.user_id)).state
        # Before the hash, so that a used token does not cost a fifth of a second.
        if self._clock() >= reset.expires_at or credential.generation != reset.credential:
            raise TokenExpired
        if (await self._aggregates.users.load(reset.user_id)).state.is_gone(self._clock()):
            raise TokenExpired
        await self._refuse_weak(reset.user_id, new)
        new_hash = await self._passwords.hash(new, NEW_PASSWORD)
        provenance = msgspec.structs.replace(provenance, actor=reset.user_id)
        outcome = await self._aggregates.credentials.execute(
            reset.user_id,
            lambda state: domain.decide_reset_password(state, reset.credential, new_hash),
            provenance,
        )
        return await self._changed(reset.user_id, outcome, provenance)

    async def _refuse_weak(self, user_id: str, password: str) -> None:
        user = (await self._aggregates.users.load(user_id)).state
        email = await self._addresses(user_id)
        self._weak.check(password, username=user.username, email=email, path=NEW_PASSWORD)

    async def _changed(
        self, user_id: str, outcome: CommandResult[domain.Credential], provenance: Provenance
    ) -> Changed:
        (recorded,) = outcome.events
        event = recorded.data
        assert isinstance(event, PasswordChanged)
        position = Position.at(AUTH, outcome.sequence)
        try:
            await remove_reported(self._second_factor, user_id, event, recorded.at, provenance)
            ended = await self._sessions.end_older(user_id=user_id, event=event, provenance=provenance)
        except VestnikError as error:
            # The password has changed regardless; the reaction does the rest as soon as it can.
            log.warning("the sessions of a user will be ended later: %s", error)
        else:
            position = position.merge(ended)
        device_token = self._devices.make(user_id, outcome.state.generation)
        return Changed(user_id=user_id, position=position, device_token=device_token)
