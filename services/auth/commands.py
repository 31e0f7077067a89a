"""Registration and verification: load, decide, append.

Each decision spans several aggregates and is appended as one atomic batch. When somebody else was quicker on one of
them, everything is loaded and decided again, so that of two who want the same name exactly one gets it.
"""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import TypeVar

import msgspec

from contracts import envelope
from contracts.envelope import Provenance
from contracts.errors import Unavailable
from contracts.identifiers import new_id
from services.auth import domain
from services.auth.aggregates import Aggregates
from services.auth.claims import ClaimKeys
from services.auth.email_keys import email_key
from services.auth.not_due import record_not_due
from services.auth.passwords import Passwords
from services.auth.verification import Verification, VerificationTokens
from services.auth.weak_passwords import WeakPasswords
from streams.log import Append, Conflict
from streams.repository import Loaded

R = TypeVar("R")

# Whoever loses so often has met something else than other people.
_ATTEMPTS = 20


class Registered(msgspec.Struct, frozen=True, kw_only=True):
    user_id: str
    username: str
    email: str
    created_at: datetime
    # Of `user.created`, the last event of the batch.
    sequence: int


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    user_id: str
    # The last of the user's events.
    sequence: int


class Commands:
    """What can be asked of auth that appends events."""

    def __init__(
        self,
        aggregates: Aggregates,
        passwords: Passwords,
        weak: WeakPasswords,
        keys: ClaimKeys,
        tokens: VerificationTokens,
        *,
        lifetime: timedelta,
        clock: Callable[[], datetime] = envelope.now,
    ) -> None:
        self._aggregates = aggregates
        self._passwords = passwords
        self._weak = weak
        self._keys = keys
        self._tokens = tokens
        self._lifetime = lifetime
        self._clock = clock

    async def register(
        self, *, email: str, username: str, password: str, display_name: str | None, provenance: Provenance
    ) -> Registered:
        """Makes a user with a claim on the address and on the username, and a credential.

        Raises:
            EmailTaken, UsernameTaken: somebody has it.
            Invalid: the password is too short, too long, or one that is guessed first.
            Overloaded: too many passwords are waiting to be hashed.
        """
        self._weak.check(password, username=username, email=email)
        command = domain.Register(user_id=new_id(), email=email, username=username.lower(), display_name=display_name)
        # Whoever asks has no account yet: the new user is the actor.
        provenance = msgspec.structs.replace(provenance, actor=command.user_id)
        # Before the hash, so that a taken name costs no fifth of a second.
        await self._claims(command, provenance)
        hashed = await self._passwords.hash(password)
        return await _until_undisputed(lambda: self._register(command, hashed, provenance))

    async def verify_email(self, token: str, provenance: Provenance) -> Verified:
        """Verifies the address that the token was mailed to; a good token may be used again and changes nothing.

        Raises:
            InvalidToken: it was not signed here.
            TokenExpired: it has run out, or the address has gone to someone else.
        """
        verification = self._tokens.read(token)
        provenance = msgspec.structs.replace(provenance, actor=verification.user_id)
        return await _until_undisputed(lambda: self._verify_email(verification, provenance))

    async def resend_verification(self, email: str, provenance: Provenance) -> None:
        """Asks for another verification mail where somebody waits for one, and says nothing about it."""
        outcome = await self._aggregates.email_claims.execute(
            await email_key(self._aggregates.email_claims, self._keys, email),
            lambda claim: domain.decide_request_verification(claim, self._clock(), self._lifetime),
            provenance,
        )
        if not outcome.events:
            await record_not_due(self._aggregates, domain.VERIFICATION_MAIL, provenance)

    async def _register(self, command: domain.Register, hashed: domain.Hashed, provenance: Provenance) -> Registered:
        claims = await self._claims(command, provenance)
        credential = self._aggregates.credentials.appends(
            command.user_id,
            Loaded(state=domain.Credential(), sequence=0, version=0),
            domain.decide_set_credential(hashed),
            provenance,
        )
        user = self._aggregates.users.appends(
            command.user_id,
            Loaded(state=domain.User(), sequence=0, version=0),
            domain.decide_create_user(command),
            provenance,
        )
        # The public event last: who sees the user sees a finished one.
        sequences = await self._aggregates.log.append_together([*claims, *credential, *user])
        return Registered(
            user_id=command.user_id,
            username=command.username,
            email=command.email,
            created_at=user[-1].envelope.at,
            sequence=sequences[-1],
        )

    async def _claims(self, command: domain.Register, provenance: Provenance) -> list[Append]:
        aggregates, keys = self._aggregates, self._keys
        address_key = await email_key(aggregates.email_claims, keys, command.email)
        username_key = keys.of_username(command.username)
        email_claim = await aggregates.email_claims.load(address_key)
        email_claimed = domain.decide_claim_email(email_claim.state, command, self._clock(), self._lifetime)
        username_claim = await aggregates.username_claims.load(username_key)
        username_claimed = domain.decide_claim_username(username_claim.state, command)
        return [
            *aggregates.email_claims.appends(address_key, email_claim, email_claimed, provenance),
            *aggregates.username_claims.appends(username_key, username_claim, username_claimed, provenance),
        ]

    async def _verify_email(self, verification: Verification, provenance: Provenance) -> Verified:
        aggregates, user_id, key = self._aggregates, verification.user_id, verification.claim_key
        claim = await aggregates.email_claims.load(key)
        verified = domain.decide_verify_email(claim.state, user_id, verification.expires_at, self._clock())
        user = await aggregates.users.load(user_id)
        if not verified:
            return Verified(user_id=user_id, sequence=user.sequence)
        sequences = await aggregates.log.append_together(
            [
                *aggregates.email_claims.appends(key, claim, verified, provenance),
                *aggregates.users.appends(user_id, user, domain.decide_user_verified(user.state), provenance),
            ]
        )
        return Verified(user_id=user_id, sequence=sequences[-1])


async def _until_undisputed(attempt: Callable[[], Awaitable[R]]) -> R:
    """Decides again after each conflict.

    Raises:
        Unavailable: others were quicker every time.
    """
    for _ in range(_ATTEMPTS):
        try:
            return await attempt()
        except Conflict:
            continue
    raise Unavailable("Too many others change the same thing; try again shortly.", retry_after=1)
