"""A friendship of two people: asked for by one, accepted by the other, ended by either, and begun anew.

A request that is declined may be repeated after a pause, which grows with each decline until the two become friends.
Requests that are withdrawn count a third of that, so that asking and withdrawing in turn ends up in the same pauses.
The one who declined may ask at any time.
"""

import math
from datetime import datetime, timedelta
from enum import StrEnum

import msgspec

from contracts.errors import RequestTooSoon, SelfFriendship
from contracts.events.event import Event
from contracts.events.friendship import FriendshipAccepted, FriendshipCreated, FriendshipRemoved

# Weights of a request that came to nothing.
DECLINED, WITHDRAWN = 3, 1
# How long its requester waits before the next one, by how many times `DECLINED` their requests weigh together.
PAUSES = (timedelta(hours=1), timedelta(days=1), timedelta(days=7), timedelta(days=30))


class Status(StrEnum):
    NONE = "none"
    REQUESTED = "requested"
    ACCEPTED = "accepted"
    REMOVED = "removed"


class Relation(StrEnum):
    """A friendship as one of the two sees it."""

    NONE = "none"
    INCOMING = "incoming"
    OUTGOING = "outgoing"
    ACCEPTED = "accepted"
    REMOVED = "removed"


class Friendship(msgspec.Struct, frozen=True, kw_only=True):
    """The aggregate's state."""

    status: Status = Status.NONE
    # Who asked; empty before anyone has, and after an end.
    requester_id: str = ""
    # By user id, what their requests that came to nothing weigh; nobody is in it with 0.
    setbacks: dict[str, int] = {}
    # When the last request or friendship ended; None unless it did.
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
    """Asks, or accepts where the other had asked; nothing where the user had done either before.

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
    """Ends a friendship, declines or withdraws a request; nothing where there is none."""
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
    """Whether adding makes a request, as opposed to accepting one or changing nothing."""
    return relation(state, user_id) in (Relation.NONE, Relation.REMOVED)


def relation(state: Friendship, user_id: str) -> Relation:
    if state.status is Status.REQUESTED:
        return Relation.OUTGOING if state.requester_id == user_id else Relation.INCOMING
    return Relation(state.status.value)


def _setbacks(*found: tuple[str, int]) -> dict[str, int]:
    return {user_id: weight for user_id, weight in found if weight}


def _pause_left(state: Friendship, user_id: str, now: datetime) -> timedelta:
    step = min(state.setbacks.get(user_id, 0) // DECLINED, len(PAUSES))
    if not step or state.ended_at is None:
        return timedelta(0)
    return state.ended_at + PAUSES[step - 1] - now
