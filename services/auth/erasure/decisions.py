"""Decisions of the erasure of an account, without I/O.

A user's request has a grace, in which a login cancels it. Then one batch ends the account, destroys the keys of its
personal data, and reserves its name and addresses for some time: their claims name the erased user until then, and
expire by themselves.
"""

from datetime import datetime, timedelta
from typing import Literal, TypeAlias

import msgspec

from contracts.errors import InvalidCredentials, UserNotFound
from contracts.events.event import Event
from contracts.events.user import (
    AddressState,
    EmailReleased,
    UserErased,
    UserErasureCancelled,
    UserErasureCompleted,
    UserErasureRequested,
    UsernameClaimed,
)
from services.auth.domain import User
from services.auth.registration.decisions import Username, as_of

Reason: TypeAlias = Literal["requested", "operator", "registration_ended"]


class ErasureTerms(msgspec.Struct, frozen=True, kw_only=True):
    # How long a request can be cancelled.
    grace: timedelta
    # How long after the erasure name and addresses cannot be used by another account.
    name_reuse: timedelta


def decide_request(state: User, now: datetime, terms: ErasureTerms) -> tuple[UserErasureRequested, ...]:
    """Requests the erasure; no event if it was requested before.

    Raises:
        InvalidCredentials: the account is gone.
    """
    if state.created_at is None:
        raise InvalidCredentials
    return () if state.erase_at is not None else (UserErasureRequested(erase_at=now + terms.grace),)


def decide_erase(state: User, reason: Reason, now: datetime) -> tuple[UserErased, ...]:
    """Ends the account; no event if it has ended, if a requested erasure was cancelled or is not due yet, or if the
    registration led to an account.

    Raises:
        UserNotFound: there is no such user.
    """
    if state.erased:
        return ()
    if state.created_at is None:
        raise UserNotFound
    if reason == "requested" and (state.erase_at is None or now < state.erase_at):
        return ()
    if reason == "registration_ended" and state.email_verified:
        return ()
    return (UserErased(reason=reason),)


def decide_withdraw(state: User, erase_at: datetime) -> tuple[UserErasureCancelled, ...]:
    """Cancels the request that is due then, also when its time is over; no event if it is another one, or done."""
    return (UserErasureCancelled(),) if not state.erased and state.erase_at == erase_at else ()


def decide_complete(state: User) -> tuple[UserErasureCompleted, ...]:
    return (UserErasureCompleted(),) if state.erased and not state.erasure_completed else ()


def decide_reserve_name(name: Username, user_id: str, free_at: datetime) -> tuple[Event, ...]:
    """Keeps the erased user's name from others until `free_at`."""
    return (UsernameClaimed(user_id=user_id, expires_at=free_at),) if name.holder == user_id else ()


def decide_release_address(
    address: AddressState, user_id: str, free_at: datetime, now: datetime
) -> tuple[EmailReleased, ...]:
    """Reserves one of the erased user's addresses until `free_at`; the event has neither the address nor the name."""
    address = as_of(address, now)
    if address.owner != user_id:
        return ()
    others = tuple(pending for pending in address.pending if pending.user_id != user_id)
    reserved = AddressState(owner=user_id, owner_until=free_at, pending=others)
    return (EmailReleased(user_id=user_id, address=reserved),)
