"""What auth decides about a user, a credential and the mails sent, without I/O.

Uniqueness is a matter of the address and of the name, not of the user: those two aggregates are in registrations.py.
"""

from datetime import datetime, timedelta

import msgspec

from contracts.errors import InvalidCredentials, TokenExpired
from contracts.events.event import Event
from contracts.events.user import (
    AddressState,
    CredentialRehashed,
    CredentialSet,
    MailNotDue,
    PasswordChanged,
    PasswordResetRequested,
    UserCreated,
    UserEmailVerified,
)
from services.auth.registration.decisions import Register

CHANGED, RESET = "password_changed", "password_reset"
# Stands for whoever holds an unknown login: has no user, no credential, and costs the same look-ups.
NOBODY = "00000000-0000-0000-0000-000000000000"
# Schemes of hashes.
PLAIN, KEYED = "bcrypt", "bcrypt-hmac-sha384"
# Between two mails that reset a password, so that nobody's mailbox is flooded.
RESET_PAUSE = timedelta(minutes=1)


class Hashed(msgspec.Struct, frozen=True, kw_only=True):
    """A password as it is stored."""

    # bcrypt, in its text form with cost and salt.
    password_hash: str
    # What bcrypt was given: the password's own bytes, or a digest of it under the key that is named.
    scheme: str = PLAIN
    key_id: str | None = None


class Credential(msgspec.Struct, frozen=True, kw_only=True):
    # None for somebody without a password.
    hashed: Hashed | None = None
    # 0: none; 1 after registration, one more with each change of the password.
    generation: int = 0
    # How the last change came about; empty before the first.
    changed_by: str = ""


class User(msgspec.Struct, frozen=True, kw_only=True):
    username: str = ""
    email_verified: bool = False
    # None: there is no such user.
    created_at: datetime | None = None


def evolve_credential(state: Credential, event: Event, at: datetime) -> Credential:
    """What the last event alone says: a password may be changed for years and is never read from its beginning."""
    match event:
        case CredentialSet():
            return Credential(hashed=_hashed(event), generation=1)
        case PasswordChanged():
            return Credential(hashed=_hashed(event), generation=event.generation, changed_by=event.reason)
        case CredentialRehashed():
            return Credential(hashed=_hashed(event), generation=event.generation, changed_by=event.changed_by)
        case _:
            return state


def _hashed(event: CredentialSet | PasswordChanged | CredentialRehashed) -> Hashed:
    return Hashed(password_hash=event.password_hash, scheme=event.scheme, key_id=event.key_id)


def evolve_user(state: User, event: Event, at: datetime) -> User:
    match event:
        case UserCreated():
            return User(username=event.username, created_at=at)
        case UserEmailVerified():
            return msgspec.structs.replace(state, email_verified=True)
        case _:
            return state


def decide_set_credential(hashed: Hashed) -> tuple[Event, ...]:
    return (CredentialSet(password_hash=hashed.password_hash, scheme=hashed.scheme, key_id=hashed.key_id),)


def decide_change_password(
    state: Credential, generation: int, hashed: Hashed, kept_session_id: str
) -> tuple[Event, ...]:
    """Another password in place of the one that was proved.

    Raises:
        InvalidCredentials: it is no longer that one.
    """
    if state.generation != generation:
        raise InvalidCredentials
    return (
        PasswordChanged(
            password_hash=hashed.password_hash,
            scheme=hashed.scheme,
            key_id=hashed.key_id,
            generation=generation + 1,
            reason=CHANGED,
            kept_session_id=kept_session_id or None,
        ),
    )


def decide_reset_password(state: Credential, generation: int, hashed: Hashed) -> tuple[Event, ...]:
    """Another password in place of the one that the token was made for.

    Raises:
        TokenExpired: it is no longer that one.
    """
    if state.generation != generation:
        raise TokenExpired
    return (
        PasswordChanged(
            password_hash=hashed.password_hash,
            scheme=hashed.scheme,
            key_id=hashed.key_id,
            generation=generation + 1,
            reason=RESET,
        ),
    )


def decide_rehash(state: Credential, proved: Credential, hashed: Hashed) -> tuple[Event, ...]:
    """The same password with another hash; nothing, where somebody else was first."""
    if state != proved:
        return ()
    return (
        CredentialRehashed(
            password_hash=hashed.password_hash,
            scheme=hashed.scheme,
            key_id=hashed.key_id,
            generation=state.generation,
            changed_by=state.changed_by,
        ),
    )


def decide_request_reset(
    state: AddressState, owner: str | None, credential: int, now: datetime, lifetime: timedelta
) -> tuple[PasswordResetRequested, ...]:
    """Asks for a mail to the owner; nothing, where nobody has verified the address, or one was asked for just now."""
    if owner is None or state.owner != owner or not credential:
        return ()
    if state.reset_requested_at is not None and now - state.reset_requested_at < RESET_PAUSE:
        return ()
    return (
        PasswordResetRequested(
            user_id=owner,
            credential=credential,
            expires_at=now + lifetime,
            address=msgspec.structs.replace(state, reset_requested_at=now),
        ),
    )


def may_request_reset(
    address: AddressState, credential: Credential, asked: PasswordResetRequested, now: datetime
) -> bool:
    """Whether a mail that was asked for is still of use: not once the password is another."""
    return address.owner == asked.user_id and credential.generation == asked.credential and now < asked.expires_at


def decide_create_user(command: Register) -> tuple[Event, ...]:
    return (UserCreated(username=command.username, display_name=command.display_name),)


def decide_user_verified(state: User) -> tuple[Event, ...]:
    return () if state.email_verified else (UserEmailVerified(),)


def decide_record_not_due(kind: str) -> tuple[Event, ...]:
    return (MailNotDue(kind=kind),)
