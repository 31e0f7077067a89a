"""Decisions on the change of an account's address, without I/O.

A change is pending on the new address, beside registrations, and is confirmed with the account's password. The replaced
address stays the account's for `HELD`: it logs in, receives reset mails, and can undo the change. Its state names the
address that replaced it, so that the addresses of several changes form a chain that ends at the current one. Undoing a
change restores one address of the chain and frees all that follow it.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec

from contracts.errors import RateLimited, TokenExpired
from contracts.events.event import Event
from contracts.events.user import (
    AddressState,
    EmailChangeRequested,
    EmailReleased,
    EmailReplaced,
    EmailRestored,
    EmailVerified,
    PendingRegistration,
)
from contracts.values.timestamps import to_unix_ms
from services.auth.registration.decisions import as_of, owned, waiting, with_pending

# How long a replaced address stays the account's.
HELD = timedelta(days=7)
# Changes of one account within `HELD`, so that a chain is short; a return to an earlier address and an undo count too.
MOST_CHANGES = 5


def decide_request(address: AddressState, change: PendingRegistration, now: datetime) -> tuple[EmailChangeRequested]:
    """Adds a pending change, whether or not the address has an owner."""
    return (EmailChangeRequested(user_id=change.user_id, address=with_pending(address, change, now)),)


def check_changes_left(present: AddressState, now: datetime) -> None:
    """
    Raises:
        RateLimited: the account has changed its address too often.
    """
    recent = _recent(present, now)
    if len(recent) >= MOST_CHANGES:
        wait = recent[-MOST_CHANGES] + HELD - now
        raise RateLimited(
            f"An account can change its address {MOST_CHANGES} times in {HELD.days} days.",
            retry_after=max(1, int(wait.total_seconds())),
        )


def change_of(address: AddressState, user_id: str, now: datetime) -> PendingRegistration | None:
    """Returns the user's pending change to this address; None if it is the account's current address already."""
    if is_present(as_of(address, now), user_id):
        return None
    return next(
        (pending for pending in waiting(address, now) if pending.user_id == user_id and pending.replaces is not None),
        None,
    )


def is_present(address: AddressState, user_id: str) -> bool:
    """Whether it is the account's address, not one that the account has left."""
    return address.owner == user_id and address.owner_until is None


def check_request(change: PendingRegistration, token_expires_at: datetime) -> None:
    """
    Raises:
        TokenExpired: the token is of another request of this change, which this one replaced.
    """
    if to_unix_ms(token_expires_at) != to_unix_ms(change.expires_at):
        raise TokenExpired


def check_token(
    address: AddressState, change: PendingRegistration, token_expires_at: datetime, generation: int, now: datetime
) -> None:
    """
    Raises:
        TokenExpired: the token has expired or is of another request, or the account has another password since, or
            another user has the address.
    """
    check_request(change, token_expires_at)
    owner = as_of(address, now).owner
    if now >= token_expires_at or change.credential != generation or owner not in (None, change.user_id):
        raise TokenExpired


def decide_replace(
    present: AddressState, change: PendingRegistration, new_key: str, now: datetime
) -> tuple[EmailReplaced, EmailVerified]:
    """Makes the new address the account's; the current one stays its for `HELD`.

    Returns:
        The event of the current address and that of the new one.
    """
    user_id = change.user_id
    left = msgspec.structs.replace(as_of(present, now), owner_until=now + HELD, replaced_by=new_key)
    new = msgspec.structs.replace(
        owned(change), replaces=change.replaces or "", changed_at=(*_recent(present, now), now)
    )
    return EmailReplaced(user_id=user_id, address=left), EmailVerified(user_id=user_id, address=new)


def decide_restore(chain: Sequence[AddressState], user_id: str, now: datetime) -> tuple[Event, ...]:
    """Makes the first address of the chain the account's current one, and frees those that replaced it.

    It counts as a change, and those of the whole chain still count.

    Returns:
        One event for each address of the chain.
    """
    first, *later = (as_of(address, now) for address in chain)
    pending = tuple(waits for waits in first.pending if waits.user_id != user_id)
    changed_at = (*_recent(chain[-1], now), now)
    restored = msgspec.structs.replace(first, owner_until=None, replaced_by="", pending=pending, changed_at=changed_at)
    return (
        EmailRestored(user_id=user_id, address=restored),
        *(
            EmailReleased(
                user_id=user_id,
                address=AddressState(pending=address.pending),
                email=address.email,
                username=address.username,
                language=address.language,
            )
            for address in later
        ),
    )


def may_undo(address: AddressState, user_id: str, until: datetime, now: datetime) -> bool:
    """Whether a token undoes a change of this address; False if the address is the account's current one again.

    `until`: in the token: the end of the time in which the address is still the account's.

    Raises:
        TokenExpired: that time is over, or the change was undone, or a later change has another token.
    """
    address = as_of(address, now)
    if address.owner != user_id or now >= until:
        raise TokenExpired
    if address.owner_until is None:
        return False
    if address.owner_until != until:
        raise TokenExpired
    return True


def _recent(address: AddressState, now: datetime) -> tuple[datetime, ...]:
    return tuple(at for at in address.changed_at if now - at < HELD)
