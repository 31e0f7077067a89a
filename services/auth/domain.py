"""Decisions about users, credentials and requested mails, without I/O.

Uniqueness is enforced by the address and username aggregates, in registration/decisions.py.
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
    PasswordVoided,
    UserCreated,
    UserEmailVerified,
    UserErased,
    UserErasureCancelled,
    UserErasureCompleted,
    UserErasureRequested,
)
from services.auth.registration.decisions import Register, as_of

CHANGED, RESET, NOT_ME = "password_changed", "password_reset", "not_me"
# Why all sessions of an account end.
ERASURE_REQUESTED, ACCOUNT_ERASED = "erasure_requested", "account_erased"
# User id used for an unknown login: it has no user and no credential, and costs the same look-ups.
NOBODY = "00000000-0000-0000-0000-000000000000"
# Hash schemes.
PLAIN, KEYED = "bcrypt", "bcrypt-hmac-sha384"
# Minimum interval between two reset mails, so that a mailbox cannot be flooded.
RESET_PAUSE = timedelta(minutes=1)


class Hashed(msgspec.Struct, frozen=True, kw_only=True):
    """A stored password hash."""

    # bcrypt's text form, with cost and salt.
    password_hash: str
    # bcrypt's input: the password's own bytes (PLAIN), or a digest of it under the key `key_id` (KEYED).
    scheme: str = PLAIN
    key_id: str | None = None


class Credential(msgspec.Struct, frozen=True, kw_only=True):
    # None without a password, or while it is void.
    hashed: Hashed | None = None
    # 0: none; 1 after registration, incremented by each password change.
    generation: int = 0
    # Reason of the last change; empty before the first.
    changed_by: str = ""
    # Generation set by the last reset by mail or undo of a change of the address; 0: none. Links of earlier mails are
    # void.
    reset_generation: int = 0
    # While the password is void: when the event happened that its owner has reported.
    reported_at: datetime | None = None


class User(msgspec.Struct, frozen=True, kw_only=True):
    username: str = ""
    email_verified: bool = False
    # None: no such user, or one who was erased.
    created_at: datetime | None = None
    # When the erasure of the account was requested, and when it is due; None: it is not requested.
    requested_at: datetime | None = None
    erase_at: datetime | None = None
    erased: bool = False
    # Whether the keys of the erased user's data are in no process any more.
    erasure_completed: bool = False

    def is_gone(self, now: datetime) -> bool:
        """Whether the account counts as an unknown one: it was erased, or the time to cancel that is over."""
        return self.erased or (self.erase_at is not None and now >= self.erase_at)


def evolve_credential(state: Credential, event: Event, at: datetime) -> Credential:
    """Derives the state from the last event alone, so that loading reads one event however often it changed."""
    match event:
        case CredentialSet():
            return Credential(hashed=_hashed(event), generation=1)
        case PasswordChanged():
            return Credential(
                hashed=_hashed(event),
                generation=event.generation,
                changed_by=event.reason,
                reset_generation=event.generation if event.reason == RESET else event.reset_generation,
            )
        case PasswordVoided():
            return Credential(
                generation=event.generation,
                changed_by=NOT_ME,
                reset_generation=event.reset_generation,
                reported_at=event.reported_at,
            )
        case CredentialRehashed():
            return Credential(
                hashed=_hashed(event),
                generation=event.generation,
                changed_by=event.changed_by,
                reset_generation=event.reset_generation,
            )
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
        case UserErasureRequested():
            return msgspec.structs.replace(state, requested_at=at, erase_at=event.erase_at)
        case UserErasureCancelled():
            return msgspec.structs.replace(state, requested_at=None, erase_at=None)
        case UserErased():
            return User(erased=True)
        case UserErasureCompleted():
            return User(erased=True, erasure_completed=True)
        case _:
            return state


def decide_set_credential(hashed: Hashed) -> tuple[Event, ...]:
    return (CredentialSet(password_hash=hashed.password_hash, scheme=hashed.scheme, key_id=hashed.key_id),)


def decide_change_password(
    state: Credential, generation: int, hashed: Hashed, kept_session_id: str
) -> tuple[Event, ...]:
    """Replaces the password of the given generation, which the user has proved.

    Raises:
        InvalidCredentials: the password has changed since.
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
            reset_generation=state.reset_generation,
        ),
    )


def decide_reset_password(state: Credential, generation: int, hashed: Hashed) -> tuple[Event, ...]:
    """Replaces the password of the given generation, for which the token was issued.

    Raises:
        TokenExpired: the password has changed since.
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
            reset_generation=state.reset_generation,
            reported_at=state.reported_at,
        ),
    )


def decide_void_password(
    state: Credential,
    generation: int,
    reported: str,
    reported_at: datetime,
    *,
    lasting: bool = False,
    restoring: bool = False,
) -> tuple[PasswordVoided, ...]:
    """Voids the password after the owner has reported an event as not them.

    No event if the password is void already and the earlier report is about an event of the same time or before.

    `generation`: of the credential at the reported event.
    `lasting`: what was reported still locks the owner out after a reset.
    `restoring`: an earlier address of the account is restored. Resets by mails to later addresses do not count, and
    every reset token that was mailed before is void.

    Raises:
        TokenExpired: the password was reset by mail since the reported event. A change with the old password does not
            count: whoever caused the event may know that password.
    """
    if generation > state.generation or (state.reset_generation > generation and not (lasting or restoring)):
        raise TokenExpired
    earliest = reported_at if state.reported_at is None else min(state.reported_at, reported_at)
    if state.reported_at == earliest and not restoring:
        return ()
    void = state.reported_at is not None
    return (
        PasswordVoided(
            generation=state.generation if void and not restoring else state.generation + 1,
            reported=reported,
            reported_at=earliest,
            reset_generation=0 if restoring else state.reset_generation,
        ),
    )


def decide_void_after_undo(state: Credential, reported: str, changed_at: datetime) -> tuple[PasswordVoided]:
    """Voids the password, and every token that was mailed before: addresses that are free now may have received some.

    `reported`: id of the event that restores the address; `changed_at`: when it was replaced.
    """
    generation = state.generation + 1
    return (
        PasswordVoided(
            generation=generation,
            reported=reported,
            reported_at=changed_at if state.reported_at is None else min(state.reported_at, changed_at),
            reset_generation=generation,
        ),
    )


def decide_void_tokens(state: Credential) -> tuple[CredentialRehashed, ...]:
    """Voids every token that was mailed before, and those of devices; the password and the sessions stay."""
    if state.hashed is None:
        return ()
    generation = state.generation + 1
    return (
        CredentialRehashed(
            password_hash=state.hashed.password_hash,
            scheme=state.hashed.scheme,
            key_id=state.hashed.key_id,
            generation=generation,
            changed_by=state.changed_by,
            reset_generation=generation,
        ),
    )


def decide_rehash(state: Credential, proved: Credential, hashed: Hashed) -> tuple[Event, ...]:
    """Replaces the hash of the same password; no event if the credential has changed since it was proved."""
    if state != proved:
        return ()
    return (
        CredentialRehashed(
            password_hash=hashed.password_hash,
            scheme=hashed.scheme,
            key_id=hashed.key_id,
            generation=state.generation,
            changed_by=state.changed_by,
            reset_generation=state.reset_generation,
        ),
    )


def decide_request_reset(
    state: AddressState,
    owner: str | None,
    credential: int,
    now: datetime,
    lifetime: timedelta,
    *,
    after_undo: bool = False,
) -> tuple[PasswordResetRequested, ...]:
    """Requests a reset mail to the owner; no event if the address has no owner or within `RESET_PAUSE` of the last.

    An address that the account has changed to another one still serves while it is the account's.
    """
    state = as_of(state, now)
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
            after_undo=after_undo,
        ),
    )


def may_request_reset(
    address: AddressState, credential: Credential, request: PasswordResetRequested, now: datetime
) -> bool:
    """Whether a requested mail is still useful: same owner, unchanged password, not expired."""
    return (
        as_of(address, now).owner == request.user_id
        and credential.generation == request.credential
        and now < request.expires_at
    )


def decide_create_user(command: Register) -> tuple[Event, ...]:
    return (UserCreated(username=command.username, display_name=command.display_name),)


def decide_user_verified(state: User) -> tuple[Event, ...]:
    return () if state.email_verified else (UserEmailVerified(),)


def decide_cancel_erasure(state: User, now: datetime) -> tuple[UserErasureCancelled, ...]:
    """Cancels the erasure; no event if none was requested.

    Raises:
        InvalidCredentials: the account is gone, or the time to cancel is over.
    """
    if state.is_gone(now):
        raise InvalidCredentials
    return () if state.erase_at is None else (UserErasureCancelled(),)


def decide_record_not_due(kind: str) -> tuple[Event, ...]:
    return (MailNotDue(kind=kind),)
