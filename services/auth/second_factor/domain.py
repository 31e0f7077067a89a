"""Decisions about a user's second factor, without I/O.

A code is good once: each use appends an event with the code's time step, on the condition that no other event came
between, so that of two logins with one code exactly one succeeds, whichever replicas they reach.
"""

from datetime import datetime, timedelta
from typing import TypeAlias

import msgspec

from contracts.errors import InvalidTotp, TotpAlreadyOn, TotpNotBegun
from contracts.events.event import Event
from contracts.events.second_factor import (
    SECOND_FACTOR_EVENTS,
    RecoveryCodeUsed,
    SealedSecret,
    SecondFactorState,
    TotpBegun,
    TotpConfirmed,
    TotpRemoved,
    TotpUsed,
)

# How long a set-up awaits its first code.
SET_UP_TIME = timedelta(hours=1)
# How long a device that proved a code needs no other.
REMEMBERED = timedelta(days=30)
BY_USER, BY_OPERATOR, NOT_ME = "user", "operator", "not_me"
_replace = msgspec.structs.replace


class AppCode(msgspec.Struct, frozen=True, kw_only=True):
    """A code of the authenticator app, found to be right for the secret."""

    # The time steps within the accepted clock skew that have this code; nearly always one.
    counters: tuple[int, ...]
    # The secret, sealed with the current key.
    secret: SealedSecret


class RecoveryCode(msgspec.Struct, frozen=True, kw_only=True):
    """Anything else that was entered, as a digest."""

    digest: str


Proof: TypeAlias = AppCode | RecoveryCode


def evolve(state: SecondFactorState, event: Event, at: datetime) -> SecondFactorState:
    """Derives the state from the last event alone."""
    return event.state if isinstance(event, SECOND_FACTOR_EVENTS) else state


def is_on(state: SecondFactorState) -> bool:
    return state.secret is not None


def is_remembered(state: SecondFactorState, generation: int, proved_at: datetime, now: datetime) -> bool:
    """Whether a device that proved a code of this generation at that time needs no other."""
    return is_on(state) and generation == state.generation and now < proved_at + REMEMBERED


def decide_begin(state: SecondFactorState, secret: SealedSecret, now: datetime, credential: int) -> tuple[Event, ...]:
    """Begins a set-up; replaces one that was not confirmed. `credential`: generation of the password that was checked.

    Raises:
        TotpAlreadyOn: the second factor is on.
    """
    if is_on(state):
        raise TotpAlreadyOn
    return (TotpBegun(state=_replace(state, begun=secret, begun_until=now + SET_UP_TIME, begun_with=credential)),)


def awaits_code(state: SecondFactorState, now: datetime, credential: int) -> bool:
    """Whether a set-up can be confirmed; `credential`: the present generation of the user's credential."""
    return (
        state.begun is not None
        and state.begun_until is not None
        and now < state.begun_until
        and state.begun_with == credential
    )


def decide_confirm(
    state: SecondFactorState,
    proof: Proof,
    recovery_codes: tuple[str, ...],
    now: datetime,
    session_id: str,
    credential: int,
) -> tuple[Event, ...]:
    """Turns the second factor on; `recovery_codes`: their digests.

    Raises:
        TotpNotBegun: no set-up awaits a code.
        InvalidTotp: it is not a code of the set-up's secret.
    """
    if not awaits_code(state, now, credential):
        raise TotpNotBegun
    if not isinstance(proof, AppCode):
        raise InvalidTotp
    after = SecondFactorState(
        generation=state.generation + 1,
        secret=proof.secret,
        on_since=now,
        counter=_first_unused(proof, 0),
        recovery_codes=recovery_codes,
    )
    return (TotpConfirmed(state=after, session_id=session_id or None),)


def decide_use(state: SecondFactorState, proof: Proof) -> tuple[Event, ...]:
    """Uses up a code for a login; no event if the second factor is off, so that none is needed.

    Raises:
        InvalidTotp: the code is wrong, or it or a later one was used.
    """
    if not is_on(state):
        return ()
    match proof:
        case AppCode():
            used = _replace(state, counter=_first_unused(proof, state.counter), secret=proof.secret)
            return (TotpUsed(state=used),)
        case RecoveryCode(digest=digest) if digest in state.recovery_codes:
            left = tuple(code for code in state.recovery_codes if code != digest)
            return (RecoveryCodeUsed(state=_replace(state, recovery_codes=left)),)
        case _:
            raise InvalidTotp


def decide_end(state: SecondFactorState, proof: Proof, session_id: str) -> tuple[Event, ...]:
    """Turns the second factor off for its user, who has proved a code; no event if it is off.

    Raises:
        InvalidTotp: as `decide_use`.
    """
    return _removed(state, BY_USER, session_id) if decide_use(state, proof) else ()


def decide_remove(
    state: SecondFactorState, reason: str, on_between: tuple[datetime, datetime] | None = None
) -> tuple[Event, ...]:
    """Turns it off without a code. `on_between`: only if it was turned on in that time, ends included."""
    if not is_on(state):
        return ()
    if on_between is not None and (state.on_since is None or not on_between[0] <= state.on_since <= on_between[1]):
        return ()
    return _removed(state, reason)


def _removed(state: SecondFactorState, reason: str, session_id: str = "") -> tuple[Event, ...]:
    after = SecondFactorState(generation=state.generation + 1)
    return (TotpRemoved(reason=reason, session_id=session_id or None, state=after),)


def _first_unused(code: AppCode, used: int) -> int:
    unused = [counter for counter in code.counters if counter > used]
    if not unused:
        raise InvalidTotp
    return min(unused)
