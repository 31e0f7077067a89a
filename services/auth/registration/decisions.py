"""Decisions of registration and verification on the address and username aggregates, without I/O.

Several registrations may be pending on an address (at most `MOST_PENDING`, with changes of accounts' addresses); the
first one verified owns it, and the others end. A registration reserves its username until it expires, but not the
address. Whether the address has an owner changes neither the events of a registration nor the response.
"""

from datetime import datetime, timedelta

import msgspec

from contracts.errors import TokenExpired, UsernameTaken
from contracts.events.event import Event
from contracts.events.user import (
    AddressState,
    EmailChangeRequested,
    EmailClaimed,
    EmailRegistrationEnded,
    EmailRegistrationRequested,
    EmailReleased,
    EmailReplaced,
    EmailRestored,
    EmailVerificationMailRequested,
    EmailVerificationRequested,
    EmailVerified,
    PasswordResetRequested,
    PendingRegistration,
    UsernameClaimed,
    UsernameConfirmed,
    UsernameReleased,
)
from contracts.values.field_types import LanguageCode

# Pending registrations and changes on one address; one more drops the oldest.
MOST_PENDING = 16


class Register(msgspec.Struct, frozen=True, kw_only=True):
    user_id: str
    email: str
    # In lower case.
    username: str
    display_name: str | None = None
    # Language of the account's mails.
    language: LanguageCode = "en"


class Username(msgspec.Struct, frozen=True, kw_only=True):
    """Who holds a username."""

    holder: str | None = None
    # Whether the holder has verified an address, which makes the name theirs permanently.
    confirmed: bool = False
    claimed_at: datetime | None = None
    # None: confirmed, or claimed in the older form, which has no expiry.
    expires_at: datetime | None = None

    def holder_at(self, now: datetime) -> str | None:
        """Returns the holder, unless their registration has expired."""
        return None if self.expires_at is not None and now >= self.expires_at else self.holder


def evolve_address(state: AddressState, event: Event, at: datetime) -> AddressState:
    match event:
        case EmailRegistrationRequested() | EmailVerificationMailRequested() | EmailRegistrationEnded():
            return event.address
        case EmailChangeRequested() | EmailReplaced() | EmailRestored() | EmailReleased():
            return event.address
        case EmailVerified() | PasswordResetRequested() if event.address is not None:
            return event.address
        case _:
            return _evolve_older(state, event, at)


def _evolve_older(state: AddressState, event: Event, at: datetime) -> AddressState:
    """Applies an event of the older form, which had one claim per address instead of pending registrations."""
    match event:
        case EmailClaimed():
            pending = PendingRegistration(
                user_id=event.user_id, email=event.email, username=event.username, expires_at=event.expires_at
            )
            return AddressState(pending=(pending,))
        case EmailVerificationRequested():
            prolonged = [
                msgspec.structs.replace(registration, expires_at=event.expires_at)
                if registration.user_id == event.user_id
                else registration
                for registration in state.pending
            ]
            return msgspec.structs.replace(state, pending=tuple(prolonged))
        case EmailVerified():
            return owned(next(registration for registration in state.pending if registration.user_id == event.user_id))
        case PasswordResetRequested():
            return msgspec.structs.replace(state, reset_requested_at=at)
        case _:
            return state


def carries_state(event: Event) -> bool:
    return getattr(event, "address", None) is not None


def evolve_username(state: Username, event: Event, at: datetime) -> Username:
    """Derives the state from the last event alone."""
    match event:
        case UsernameClaimed():
            return Username(holder=event.user_id, claimed_at=at, expires_at=event.expires_at)
        case UsernameConfirmed():
            return Username(holder=event.user_id, confirmed=True)
        case UsernameReleased():
            return Username()
        case _:
            return state


def as_of(address: AddressState, now: datetime) -> AddressState:
    """Returns the state at a moment: an address that its account has left is free once the account's time is over."""
    pending = waiting(address, now)
    if address.owner_until is not None and now >= address.owner_until:
        return AddressState(pending=pending)
    return msgspec.structs.replace(address, pending=pending)


def waiting(address: AddressState, now: datetime) -> tuple[PendingRegistration, ...]:
    """Returns the registrations and changes that have not expired, oldest first."""
    return tuple(pending for pending in address.pending if now < pending.expires_at)


def registrations(address: AddressState, now: datetime) -> tuple[PendingRegistration, ...]:
    """Returns the registrations that have not expired, oldest first."""
    return tuple(pending for pending in waiting(address, now) if pending.replaces is None)


def decide_register(
    address: AddressState, command: Register, now: datetime, lifetime: timedelta
) -> tuple[EmailRegistrationRequested]:
    """Adds a pending registration, whether or not the address has an owner."""
    added = PendingRegistration(
        user_id=command.user_id,
        email=command.email,
        username=command.username,
        expires_at=now + lifetime,
        language=command.language,
    )
    return (EmailRegistrationRequested(user_id=command.user_id, address=with_pending(address, added, now)),)


def with_pending(address: AddressState, added: PendingRegistration, now: datetime) -> AddressState:
    """Adds a registration or a change; an earlier one of the same user ends, and of too many the oldest."""
    address = as_of(address, now)
    others = [pending for pending in address.pending if pending.user_id != added.user_id]
    return msgspec.structs.replace(address, pending=(*others, added)[-MOST_PENDING:])


def decide_claim_username(
    name: Username, command: Register, now: datetime, lifetime: timedelta, *, holder_verified: bool
) -> tuple[UsernameClaimed]:
    """Reserves the name for as long as the registration may be verified.

    `holder_verified`: whether the current holder has verified an address; claims of the older form do not record it.

    Raises:
        UsernameTaken: another user holds it, permanently or until a registration expires.
    """
    if name.holder is not None:
        end = name.expires_at or (now if name.claimed_at is None else name.claimed_at + lifetime)
        if name.confirmed or holder_verified or now < end:
            raise UsernameTaken
    return (UsernameClaimed(user_id=command.user_id, expires_at=now + lifetime),)


def decide_verify(
    address: AddressState, user_id: str, token_expires_at: datetime, now: datetime
) -> tuple[EmailVerified, ...]:
    """Makes the user the owner of the address. No event if they are already: a token may be used twice.

    Raises:
        TokenExpired: the token or the registration has expired, or the address has another owner.
    """
    address = as_of(address, now)
    if address.owner == user_id:
        return ()
    registration = next((candidate for candidate in registrations(address, now) if candidate.user_id == user_id), None)
    if address.owner is not None or registration is None or now >= token_expires_at:
        raise TokenExpired
    return (EmailVerified(user_id=user_id, address=owned(registration)),)


def decide_confirm_username(name: Username, user_id: str) -> tuple[UsernameConfirmed, ...]:
    """Makes the name the user's permanently.

    Raises:
        TokenExpired: the user no longer holds it.
    """
    if name.holder != user_id:
        raise TokenExpired
    return () if name.confirmed else (UsernameConfirmed(user_id=user_id),)


def registration_of(
    address: AddressState, user_id: str, token_expires_at: datetime, now: datetime
) -> PendingRegistration | None:
    """Returns the pending registration of a token; None if its user owns the address already.

    Raises:
        TokenExpired: as `decide_verify`.
    """
    if not decide_verify(address, user_id, token_expires_at, now):
        return None
    return next(registration for registration in address.pending if registration.user_id == user_id)


def decide_end(address: AddressState, user_id: str, now: datetime) -> tuple[EmailRegistrationEnded, ...]:
    """Ends a registration or a change that the reader of its mail disowns; no event if it is no longer pending.

    Raises:
        TokenExpired: it was verified, so the user owns the address.
    """
    address = as_of(address, now)
    left = tuple(pending for pending in address.pending if pending.user_id != user_id)
    if left == address.pending:
        if address.owner == user_id:
            raise TokenExpired
        return ()
    return (EmailRegistrationEnded(user_id=user_id, address=msgspec.structs.replace(address, pending=left)),)


def decide_release_username(name: Username, user_id: str) -> tuple[UsernameReleased, ...]:
    return (UsernameReleased(user_id=user_id),) if name.holder == user_id and not name.confirmed else ()


def needs_password(address: AddressState, now: datetime) -> bool:
    """Whether verifying a registration needs its password: of several, the reader may not know which is theirs."""
    return len(waiting(address, now)) > 1


def decide_request_mail(address: AddressState, now: datetime) -> tuple[EmailVerificationMailRequested, ...]:
    """Requests one mail with all pending registrations; no event if there are none or the address has an owner."""
    address = as_of(address, now)
    if address.owner is not None or not registrations(address, now):
        return ()
    return (EmailVerificationMailRequested(address=address),)


def owned(registration: PendingRegistration) -> AddressState:
    return AddressState(
        owner=registration.user_id,
        email=registration.email,
        username=registration.username,
        language=registration.language,
    )
