"""What registration, verification and mail decide, without I/O.

Five small aggregates instead of one, because uniqueness is a matter of the address and of the name, not of the user:
a claim on an e-mail address, a claim on a username, the credential, the user, and the mails sent to the user.

An e-mail claim that is never verified lapses and may be taken over. The username does not lapse with it: it stays
with the user who claimed it first, so that a name never changes hands.
"""

from datetime import datetime, timedelta

import msgspec

from contracts.errors import EmailTaken, InvalidCredentials, TokenExpired, UsernameTaken
from contracts.event import Event
from contracts.events.user import (
    CredentialRehashed,
    CredentialSet,
    EmailClaimed,
    EmailVerificationRequested,
    EmailVerified,
    MailNotDue,
    MailSent,
    PasswordChanged,
    PasswordResetRequested,
    UserCreated,
    UserEmailVerified,
    UsernameClaimed,
)
from contracts.personal import plain

VERIFICATION_MAIL, RESET_MAIL = "verification", "password_reset"
CHANGED, RESET = "password_changed", "password_reset"
# Stands for whoever holds an unknown login: has no user, no credential, and costs the same look-ups.
NOBODY = "00000000-0000-0000-0000-000000000000"
# Schemes of hashes.
PLAIN, KEYED = "bcrypt", "bcrypt-hmac-sha384"
# Between two mails that reset a password, so that nobody's mailbox is flooded.
RESET_PAUSE = timedelta(minutes=1)


class EmailClaim(msgspec.Struct, frozen=True, kw_only=True):
    """Who holds an e-mail address."""

    holder: str | None = None
    # As the holder typed it; None where it was forgotten.
    email: str | None = None
    username: str = ""
    expires_at: datetime | None = None
    verified: bool = False
    reset_requested_at: datetime | None = None

    def lapsed(self, at: datetime) -> bool:
        """Whether the claim was not verified in time, so that someone else may have the address."""
        return not self.verified and self.expires_at is not None and at >= self.expires_at


class UsernameClaim(msgspec.Struct, frozen=True, kw_only=True):
    holder: str | None = None


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


class Mails(msgspec.Struct, frozen=True, kw_only=True):
    """Which events' mails went out to a user."""

    sent_for: frozenset[str] = frozenset()


def evolve_email_claim(state: EmailClaim, event: Event, at: datetime) -> EmailClaim:
    match event:
        case EmailClaimed():
            return EmailClaim(
                holder=event.user_id,
                email=plain(event.email),
                username=event.username,
                expires_at=event.expires_at,
            )
        case EmailVerificationRequested():
            return msgspec.structs.replace(state, expires_at=event.expires_at)
        case EmailVerified():
            return msgspec.structs.replace(state, verified=True)
        case PasswordResetRequested():
            return msgspec.structs.replace(state, reset_requested_at=at)
        case _:
            return state


def evolve_username_claim(state: UsernameClaim, event: Event, at: datetime) -> UsernameClaim:
    return UsernameClaim(holder=event.user_id) if isinstance(event, UsernameClaimed) else state


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


def evolve_mails(state: Mails, event: Event, at: datetime) -> Mails:
    return Mails(sent_for=state.sent_for | {event.requested_by}) if isinstance(event, MailSent) else state


class Register(msgspec.Struct, frozen=True, kw_only=True):
    user_id: str
    email: str
    # In lower case.
    username: str
    display_name: str | None = None


def decide_claim_email(state: EmailClaim, command: Register, now: datetime, lifetime: timedelta) -> tuple[Event, ...]:
    """Claims the address for `lifetime`.

    Raises:
        EmailTaken: someone holds it, and either verified it or still may.
    """
    if state.holder is not None and not state.lapsed(now):
        raise EmailTaken
    return (
        EmailClaimed(
            user_id=command.user_id, email=command.email, username=command.username, expires_at=now + lifetime
        ),
    )


def decide_claim_username(state: UsernameClaim, command: Register) -> tuple[Event, ...]:
    """Claims the name for good.

    Raises:
        UsernameTaken: someone holds it.
    """
    if state.holder is not None:
        raise UsernameTaken
    return (UsernameClaimed(user_id=command.user_id),)


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
    state: EmailClaim, holder: str | None, credential: int, now: datetime, lifetime: timedelta
) -> tuple[Event, ...]:
    """Asks for a mail to the holder; nothing, where nobody has verified the address, or one was asked for just now."""
    if holder is None or state.holder != holder or not state.verified or not credential:
        return ()
    if state.reset_requested_at is not None and now - state.reset_requested_at < RESET_PAUSE:
        return ()
    return (PasswordResetRequested(user_id=holder, credential=credential, expires_at=now + lifetime),)


def reset_is_due(claim: EmailClaim, credential: Credential, asked: PasswordResetRequested, now: datetime) -> bool:
    """Whether a mail that was asked for is still of use: not once the password is another."""
    return claim.holder == asked.user_id and credential.generation == asked.credential and now < asked.expires_at


def decide_create_user(command: Register) -> tuple[Event, ...]:
    return (UserCreated(username=command.username, display_name=command.display_name),)


def decide_verify_email(
    state: EmailClaim, user_id: str, token_expires_at: datetime, now: datetime
) -> tuple[Event, ...]:
    """Makes the claim last. Nothing, if the same user has verified it before: a token may be used twice.

    Raises:
        TokenExpired: the token has run out, or the address has gone to someone else.
    """
    if state.holder != user_id:
        raise TokenExpired
    if state.verified:
        return ()
    if now >= token_expires_at or state.lapsed(now):
        raise TokenExpired
    return (EmailVerified(user_id=user_id),)


def decide_user_verified(state: User) -> tuple[Event, ...]:
    return () if state.email_verified else (UserEmailVerified(),)


def decide_request_verification(state: EmailClaim, now: datetime, lifetime: timedelta) -> tuple[Event, ...]:
    """Asks for another mail and prolongs the claim; nothing, where nobody waits for one."""
    if state.holder is None or state.verified:
        return ()
    return (EmailVerificationRequested(user_id=state.holder, expires_at=now + lifetime),)


def verification_is_due(claim: EmailClaim, user_id: str, expires_at: datetime, now: datetime) -> bool:
    """Whether a mail that was asked for is still of use: not after verification, lapse or a take-over."""
    return claim.holder == user_id and not claim.verified and now < expires_at


def decide_record_not_due(kind: str) -> tuple[Event, ...]:
    return (MailNotDue(kind=kind),)


def decide_record_mail(state: Mails, requested_by: str, kind: str = VERIFICATION_MAIL) -> tuple[Event, ...]:
    if requested_by in state.sent_for:
        return ()
    return (MailSent(kind=kind, requested_by=requested_by),)
