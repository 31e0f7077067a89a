"""Registration and verification: load, decide, append.

Each decision spans several aggregates and is appended as one atomic batch. After a conflict on any of them, all are
loaded and decided again: of two registrations for the same username, or two verifications on one address, exactly one
succeeds.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

import msgspec

from contracts import envelope
from contracts.envelope import Provenance
from contracts.errors import PasswordRequired, TokenExpired
from contracts.values.field_types import LanguageCode
from contracts.values.ids import new_id
from services.auth import domain
from services.auth.claim_keys import ClaimKeys
from services.auth.conflicts import retry_on_conflict
from services.auth.email_change.change import EmailChanges
from services.auth.email_change.decisions import change_of, check_request, check_token
from services.auth.failures.failed_logins import FailedLogins
from services.auth.mail import mailbox_budgets
from services.auth.mail.decoy import record_decoy
from services.auth.passwords.hashing import Passwords
from services.auth.passwords.weak_passwords import WeakPasswords
from services.auth.registration import decisions
from services.auth.registration.email_lookup import email_key
from services.auth.repositories import Aggregates
from services.auth.tokens.email_verification import Verification, VerificationTokens
from streams.log import Append
from streams.repository import LoadedAggregate


class Registered(msgspec.Struct, frozen=True, kw_only=True):
    user_id: str
    username: str
    email: str
    created_at: datetime
    # Stream sequence of `user.created`, the last event of the batch.
    sequence: int


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    user_id: str
    # Stream sequence of the verification, or of the user's last event.
    sequence: int


class PendingName(msgspec.Struct, frozen=True, kw_only=True):
    """The registration, or the change of an account's address, that a verification token belongs to."""

    username: str
    # Whether the account is verified.
    verified: bool
    # Whether verifying also needs the registration's or the account's password.
    needs_password: bool
    # The account whose address it changes; empty for a registration.
    changes_user_id: str = ""


class Commands:
    """Commands of registration and verification."""

    def __init__(
        self,
        aggregates: Aggregates,
        passwords: Passwords,
        weak: WeakPasswords,
        keys: ClaimKeys,
        tokens: VerificationTokens,
        email_changes: EmailChanges,
        failures: FailedLogins,
        *,
        lifetime: timedelta,
        clock: Callable[[], datetime] = envelope.now,
    ) -> None:
        self._aggregates = aggregates
        self._passwords = passwords
        self._weak = weak
        self._keys = keys
        self._tokens = tokens
        self._email_changes = email_changes
        self._failures = failures
        self._lifetime = lifetime
        self._clock = clock

    async def register(
        self,
        *,
        email: str,
        username: str,
        password: str,
        display_name: str | None,
        provenance: Provenance,
        language: LanguageCode = "en",
    ) -> Registered:
        """Creates a user with a credential and a pending registration, which reserves the username until it expires.

        The response, the events and the duration are the same whether or not the address has an account.

        Raises:
            UsernameTaken: another user holds it, permanently or until a registration expires.
            Invalid: the password is too short, too long, or weak.
            Overloaded: too many passwords are waiting to be hashed.
        """
        self._weak.check(password, username=username, email=email)
        command = decisions.Register(
            user_id=new_id(), email=email, username=username.lower(), display_name=display_name, language=language
        )
        # The caller has no account yet: the new user is the actor.
        provenance = msgspec.structs.replace(provenance, actor=command.user_id)
        # Before the hash, so that a taken name does not cost a fifth of a second.
        await self._username_claim(command, self._clock(), provenance)
        hashed = await self._passwords.hash(password)
        return await retry_on_conflict(lambda: self._register(command, hashed, provenance))

    async def verify_email(
        self, token: str, provenance: Provenance, *, password: str | None = None, address: str = ""
    ) -> Verified:
        """Makes the token's user the owner of the address. Idempotent: a valid token may be used again.

        `password`: of the registration, needed while several are pending on the address; of the account, always needed
        to change its address. `address`: of the client, to be recorded if the password is wrong.

        Raises:
            InvalidToken: the signature is not ours.
            TokenExpired: it has expired, or the registration or change has ended, or the address has another owner, or
                the account is gone.
            PasswordRequired: several registrations are pending, and the password is not that of this one; or a change
                comes without a password.
            InvalidCredentials: a change comes with a wrong password.
            Overloaded: too many passwords are waiting to be checked.
        """
        verification = self._tokens.read(token)
        provenance = msgspec.structs.replace(provenance, actor=verification.user_id)
        return await retry_on_conflict(lambda: self._verify_email(verification, password, address, provenance))

    async def registration(self, token: str) -> PendingName:
        """Returns the registration or the change that a token verifies, for the confirmation page.

        Raises:
            InvalidToken, TokenExpired: as `verify_email`.
        """
        verification, now = self._tokens.read(token), self._clock()
        address = (await self._aggregates.addresses.load(verification.claim_key)).state
        change = change_of(address, verification.user_id, now)
        if change is not None:
            credential = (await self._aggregates.credentials.load(change.user_id)).state
            check_token(address, change, verification.expires_at, credential.generation, now)
            return PendingName(
                username=change.username, verified=False, needs_password=True, changes_user_id=change.user_id
            )
        pending = decisions.registration_of(address, verification.user_id, verification.expires_at, now)
        if pending is None:
            return PendingName(username=address.username, verified=True, needs_password=False)
        needs_password = decisions.needs_password(address, now)
        return PendingName(username=pending.username, verified=False, needs_password=needs_password)

    async def end_registration(self, token: str, provenance: Provenance) -> None:
        """Ends the token's registration and releases its username, or ends the token's change. Idempotent.

        Raises:
            InvalidToken: the signature is not ours.
            TokenExpired: the registration was verified, or another request of the change has replaced the token's.
        """
        verification = self._tokens.read(token)
        await retry_on_conflict(lambda: self._end_registration(verification, provenance))

    async def resend_verification(self, email: str, provenance: Provenance) -> None:
        """Requests a mail with every pending registration on the address; the response is the same for any address."""
        outcome = await self._aggregates.addresses.execute(
            await email_key(self._aggregates.addresses, self._keys, email),
            lambda address: decisions.decide_request_mail(address, self._clock()),
            provenance,
        )
        if not outcome.events:
            await record_decoy(self._aggregates, mailbox_budgets.VERIFICATION_MAIL, provenance)

    async def _register(self, command: decisions.Register, hashed: domain.Hashed, provenance: Provenance) -> Registered:
        aggregates, now = self._aggregates, self._clock()
        key = await email_key(aggregates.addresses, self._keys, command.email)
        name_claimed = await self._username_claim(command, now, provenance)
        address = await aggregates.addresses.load(key)
        requested = decisions.decide_register(address.state, command, now, self._lifetime)
        credential = aggregates.credentials.appends(
            command.user_id,
            LoadedAggregate(state=domain.Credential(), sequence=0, version=0),
            domain.decide_set_credential(hashed),
            provenance,
        )
        user = aggregates.users.appends(
            command.user_id,
            LoadedAggregate(state=domain.User(), sequence=0, version=0),
            domain.decide_create_user(command),
            provenance,
        )
        # The public event comes last: a consumer that sees the user sees a complete one.
        sequences = await aggregates.log.append_together(
            [*aggregates.addresses.appends(key, address, requested, provenance), *name_claimed, *credential, *user]
        )
        return Registered(
            user_id=command.user_id,
            username=command.username,
            email=command.email,
            created_at=user[-1].envelope.at,
            sequence=sequences[-1],
        )

    async def _username_claim(self, command: decisions.Register, now: datetime, provenance: Provenance) -> list[Append]:
        aggregates, key = self._aggregates, self._keys.of_username(command.username)
        name = await aggregates.usernames.load(key)
        # Claims of the older form have no expiry and no confirmation: the user's stream shows whether it was verified.
        unsaid = name.state.holder if not name.state.confirmed and name.state.expires_at is None else None
        verified = unsaid is not None and (await aggregates.users.load(unsaid)).state.email_verified
        events = decisions.decide_claim_username(name.state, command, now, self._lifetime, holder_verified=verified)
        return aggregates.usernames.appends(key, name, events, provenance)

    async def _verify_email(
        self, verification: Verification, password: str | None, address: str, provenance: Provenance
    ) -> Verified:
        aggregates, user_id, key = self._aggregates, verification.user_id, verification.claim_key
        now, claim, user = self._clock(), await aggregates.addresses.load(key), await aggregates.users.load(user_id)
        if user.state.is_gone(now):
            raise TokenExpired
        if change_of(claim.state, user_id, now) is not None:
            sequence = await self._email_changes.confirm(verification, password, provenance, address=address)
            return Verified(user_id=user_id, sequence=sequence)
        verified = decisions.decide_verify(claim.state, user_id, verification.expires_at, now)
        if not verified:
            return Verified(user_id=user_id, sequence=user.sequence)
        name_key = self._keys.of_username(user.state.username)
        name = await aggregates.usernames.load(name_key)
        confirmed = decisions.decide_confirm_username(name.state, user_id)
        if decisions.needs_password(claim.state, now):
            await self._prove(user_id, password, address)
        sequences = await aggregates.log.append_together(
            [
                *aggregates.addresses.appends(key, claim, verified, provenance),
                *aggregates.usernames.appends(name_key, name, confirmed, provenance),
                *aggregates.users.appends(user_id, user, domain.decide_user_verified(user.state), provenance),
            ]
        )
        return Verified(user_id=user_id, sequence=sequences[-1])

    async def _end_registration(self, verification: Verification, provenance: Provenance) -> None:
        aggregates, user_id, key = self._aggregates, verification.user_id, verification.claim_key
        now, address = self._clock(), await aggregates.addresses.load(key)
        change = change_of(address.state, user_id, now)
        if change is not None:
            check_request(change, verification.expires_at)
        ended = decisions.decide_end(address.state, user_id, now)
        if not ended:
            return
        if change is not None:
            # The account keeps its username.
            await aggregates.log.append_together(aggregates.addresses.appends(key, address, ended, provenance))
            return
        name_key = self._keys.of_username((await aggregates.users.load(user_id)).state.username)
        name = await aggregates.usernames.load(name_key)
        released = decisions.decide_release_username(name.state, user_id)
        await aggregates.log.append_together(
            [
                *aggregates.addresses.appends(key, address, ended, provenance),
                *aggregates.usernames.appends(name_key, name, released, provenance),
            ]
        )

    async def _prove(self, user_id: str, password: str | None, address: str) -> None:
        """
        Raises:
            PasswordRequired: the password is missing or is not the user's.
        """
        credential = (await self._aggregates.credentials.load(user_id)).state
        if password is None:
            raise PasswordRequired
        if not await self._passwords.matches(password, credential.hashed):
            self._failures.record(user_id, "wrong_password", address=address)
            raise PasswordRequired
