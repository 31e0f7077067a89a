"""Another password: by who knows the present one, or by who has the mail.

Two things happen, in this order: `password.changed` is appended, on the condition that the credential is still the one
that was proved; then the sessions that an older credential opened end. The first counts. The second follows it even
when this process dies in between: a reaction does it again (reactions.py), and a login that was under way with the old
password looks at the credential once more after its session has begun (login.py).
"""

import logging
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

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
from services.auth.mail import mailbox_budgets
from services.auth.mail.decoy import record_decoy
from services.auth.passwords.hashing import Passwords, accepted
from services.auth.passwords.weak_passwords import WeakPasswords
from services.auth.registration.email_lookup import email_key
from services.auth.repositories import Aggregates
from services.auth.tokens.device_tokens import DeviceTokens
from services.auth.tokens.password_reset import ResetTokens
from streams.repository import CommandResult

# The address of a user, empty where it is not known.
Addresses = Callable[[str], Awaitable[str]]

log = logging.getLogger(__name__)
NEW_PASSWORD = "/new_password"  # noqa: S105  # where it stands in a request


class Changed(msgspec.Struct, frozen=True, kw_only=True):
    user_id: str
    # Of the change, and of the last session that it ended.
    position: Position
    # For the device that has changed it.
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
        *,
        lifetime: timedelta,
        clock: Callable[[], datetime] = envelope.now,
    ) -> None:
        """`lifetime`: how long a token that was mailed is good."""
        self._aggregates = aggregates
        self._passwords = passwords
        self._weak = weak
        self._addresses = addresses
        self._keys = keys
        self._tokens = tokens
        self._sessions = sessions
        self._devices = devices
        self._lifetime = lifetime
        self._clock = clock

    async def change(self, *, user_id: str, current: str, new: str, session_id: str, provenance: Provenance) -> Changed:
        """Another password; all sessions of the user but the one named end.

        Raises:
            InvalidCredentials: the present password is another, or was changed meanwhile.
            Invalid: the new one is too short, too long, or one that is guessed first.
            Overloaded: too many passwords are waiting.
        """
        accepted(new, NEW_PASSWORD)
        await self._refuse_weak(user_id, new)
        known = (await self._aggregates.credentials.load(user_id)).state
        if not await self._passwords.matches(current, known.hashed):
            raise InvalidCredentials
        new_hash = await self._passwords.hash(new, NEW_PASSWORD)
        outcome = await self._aggregates.credentials.execute(
            user_id,
            lambda state: domain.decide_change_password(state, known.generation, new_hash, session_id),
            provenance,
        )
        return await self._changed(user_id, outcome, provenance)

    async def request_reset(self, email: str, provenance: Provenance) -> None:
        """Asks for a mail where the address is somebody's, and says nothing about it."""
        key = await email_key(self._aggregates.addresses, self._keys, email)
        owner = (await self._aggregates.addresses.load(key)).state.owner
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
        """Another password for whoever has the mail; all sessions of the user end, and the token is spent.

        Raises:
            InvalidToken: it was not signed here.
            TokenExpired: it has run out, or was spent, or the password was changed since it was asked for.
            Invalid: the password is too short, too long, or one that is guessed first.
            Overloaded: too many passwords are waiting.
        """
        accepted(new, NEW_PASSWORD)
        asked = self._tokens.read(token)
        known = (await self._aggregates.credentials.load(asked.user_id)).state
        # Before the hash, so that a spent token costs no fifth of a second.
        if self._clock() >= asked.expires_at or known.generation != asked.credential:
            raise TokenExpired
        await self._refuse_weak(asked.user_id, new)
        new_hash = await self._passwords.hash(new, NEW_PASSWORD)
        provenance = msgspec.structs.replace(provenance, actor=asked.user_id)
        outcome = await self._aggregates.credentials.execute(
            asked.user_id,
            lambda state: domain.decide_reset_password(state, asked.credential, new_hash),
            provenance,
        )
        return await self._changed(asked.user_id, outcome, provenance)

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
            ended = await self._sessions.end_older(user_id=user_id, event=event, provenance=provenance)
        except VestnikError as error:
            # The password is another whatever becomes of this; the reaction ends the sessions as soon as it can.
            log.warning("the sessions of user %s end later: %s", user_id, error)
        else:
            position = position.merge(ended)
        device_token = self._devices.make(user_id, outcome.state.generation)
        return Changed(user_id=user_id, position=position, device_token=device_token)
