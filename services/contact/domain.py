"""The friendship aggregate: requested by one user, accepted by the other, ended by either; may be requested again.

A declined request may be repeated after a pause, which grows with each decline until the two become friends. A
withdrawn request counts a third of a declined one, so that repeated requests and withdrawals lead to the same pauses.
The user who declined may send a request at any time.
"""

import math
from datetime import datetime, timedelta
from enum import StrEnum

import msgspec

from contracts.errors import RequestTooSoon, SelfFriendship
from contracts.events.event import Event
from contracts.events.friendship import FriendshipAccepted, FriendshipCreated, FriendshipRemoved

# Weights of an unsuccessful request.
DECLINED, WITHDRAWN = 3, 1
# Pause before the requester's next request, by their total weight in multiples of `DECLINED`.
PAUSES = (timedelta(hours=1), timedelta(days=1), timedelta(days=7), timedelta(days=30))


class Status(StrEnum):
    NONE = "none"
    REQUESTED = "requested"
    ACCEPTED = "accepted"
    REMOVED = "removed"


class Relation(StrEnum):
    """One user's view of a friendship."""

    NONE = "none"
    INCOMING = "incoming"
    OUTGOING = "outgoing"
    ACCEPTED = "accepted"
    REMOVED = "removed"


class Friendship(msgspec.Struct, frozen=True, kw_only=True):
    """The aggregate's state."""

    status: Status = Status.NONE
    # Empty before a request and after an end.
    requester_id: str = ""
    # Total weight of unsuccessful requests by user id; without entries of 0.
    setbacks: dict[str, int] = {}
    # When the last request or friendship ended; None while there is one, or before the first.
    ended_at: datetime | None = None


def evolve(state: Friendship, event: Event, at: datetime) -> Friendship:
    match event:
        case FriendshipCreated():
            return Friendship(
                status=Status.REQUESTED,
                requester_id=event.requester_id,
                setbacks=_setbacks(
                    (event.requester_id, event.requester_setbacks), (event.addressee_id, event.addressee_setbacks)
                ),
            )
        case FriendshipAccepted():
            return Friendship(status=Status.ACCEPTED, requester_id=event.requester_id)
        case FriendshipRemoved():
            return Friendship(
                status=Status.REMOVED,
                setbacks=_setbacks((event.remover_id, event.remover_setbacks), (event.other_id, event.other_setbacks)),
                ended_at=at,
            )
        case _:
            return state


def decide_add(state: Friendship, user_id: str, friend_id: str, now: datetime) -> tuple[Event, ...]:
    """Requests a friendship, or accepts the other's request; no event if the user has already done so.

    Raises:
        SelfFriendship: both are the same person.
        RequestTooSoon: the user's last request was declined, or too many were withdrawn; with the seconds to wait.
    """
    if user_id == friend_id:
        raise SelfFriendship
    match relation(state, user_id):
        case Relation.OUTGOING | Relation.ACCEPTED:
            return ()
        case Relation.INCOMING:
            return (FriendshipAccepted(requester_id=friend_id, addressee_id=user_id),)
        case _:
            wait = _pause_left(state, user_id, now)
            if wait > timedelta(0):
                raise RequestTooSoon(retry_after=math.ceil(wait.total_seconds()))
            return (
                FriendshipCreated(
                    requester_id=user_id,
                    addressee_id=friend_id,
                    requester_setbacks=state.setbacks.get(user_id, 0),
                    addressee_setbacks=state.setbacks.get(friend_id, 0),
                ),
            )


def decide_remove(state: Friendship, user_id: str, friend_id: str) -> tuple[Event, ...]:
    """Ends a friendship, declines or withdraws a request; no event if there is none."""
    if state.status not in (Status.REQUESTED, Status.ACCEPTED):
        return ()
    setbacks = dict(state.setbacks)
    if state.status is Status.REQUESTED:
        weight = WITHDRAWN if user_id == state.requester_id else DECLINED
        setbacks[state.requester_id] = setbacks.get(state.requester_id, 0) + weight
    return (
        FriendshipRemoved(
            remover_id=user_id,
            other_id=friend_id,
            remover_setbacks=setbacks.get(user_id, 0),
            other_setbacks=setbacks.get(friend_id, 0),
        ),
    )


def asks(state: Friendship, user_id: str) -> bool:
    """Whether adding would create a request, as opposed to accepting one or changing nothing."""
    return relation(state, user_id) in (Relation.NONE, Relation.REMOVED)


def relation(state: Friendship, user_id: str) -> Relation:
    if state.status is Status.REQUESTED:
        return Relation.OUTGOING if state.requester_id == user_id else Relation.INCOMING
    return Relation(state.status.value)


def _setbacks(*counts: tuple[str, int]) -> dict[str, int]:
    return {user_id: weight for user_id, weight in counts if weight}


def _pause_left(state: Friendship, user_id: str, now: datetime) -> timedelta:
    step = min(state.setbacks.get(user_id, 0) // DECLINED, len(PAUSES))
    if not step or state.ended_at is None:
        return timedelta(0)
    return state.ended_at + PAUSES[step - 1] - now
