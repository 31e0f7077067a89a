"""The friendship aggregate: requested by one user, accepted by the other, ended by either; may be requested again.

Either may block the other, which ends what there is between them. The blocked user's requests, also one from before,
are then outgoing for that user alone until they are withdrawn, run out or are dropped, at no cost, when the block ends.
So to that user a block looks like an ended friendship, followed by requests that nobody answers.

A request that no one answers is cancelled after some days, after a reminder (requests/domain.py).

A declined request may be repeated after a pause, which grows with each decline until the two become friends. A
withdrawn request counts a third of a declined one, so that repeated requests and withdrawals lead to the same pauses.
The user who declined may send a request at any time.
"""

import math
from datetime import datetime, timedelta
from enum import StrEnum

import msgspec

from contracts.errors import Blocked, RequestTooSoon, SelfBlock, SelfFriendship
from contracts.events.event import Event
from contracts.events.friendship import (
    FriendshipAccepted,
    FriendshipBlocked,
    FriendshipCreated,
    FriendshipRemoved,
    FriendshipUnblocked,
)

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
    # When the pending request was sent, and when its addressee was reminded of it; None: not pending, or not yet.
    requested_at: datetime | None = None
    reminded_at: datetime | None = None
    # Total weight of unsuccessful requests by user id; without entries of 0.
    setbacks: dict[str, int] = {}
    # When the last request or friendship ended; None while there is one, or before the first.
    ended_at: datetime | None = None
    # Which of the two block the other, sorted.
    blocked_by: tuple[str, ...] = ()


def evolve(state: Friendship, event: Event, at: datetime) -> Friendship:
    match event:
        case FriendshipCreated():
            return Friendship(
                status=Status.REQUESTED,
                requester_id=event.requester_id,
                requested_at=event.requested_at or at,
                reminded_at=at if event.is_reminder else None,
                setbacks=_setbacks(
                    (event.requester_id, event.requester_setbacks), (event.addressee_id, event.addressee_setbacks)
                ),
                blocked_by=event.blocked_by,
            )
        case FriendshipAccepted():
            return Friendship(status=Status.ACCEPTED, requester_id=event.requester_id)
        case FriendshipRemoved():
            return Friendship(
                status=Status.REMOVED,
                setbacks=_setbacks((event.remover_id, event.remover_setbacks), (event.other_id, event.other_setbacks)),
                ended_at=at,
                blocked_by=event.blocked_by,
            )
        case FriendshipBlocked(requested_at=datetime()):
            return Friendship(
                status=Status.REQUESTED,
                requester_id=event.blocked_id,
                requested_at=event.requested_at,
                reminded_at=event.reminded_at,
                setbacks=_setbacks(
                    (event.blocker_id, event.blocker_setbacks), (event.blocked_id, event.blocked_setbacks)
                ),
                blocked_by=event.blocked_by,
            )
        case FriendshipBlocked() | FriendshipUnblocked():
            return Friendship(
                status=Status.REMOVED,
                setbacks=_setbacks(
                    (event.blocker_id, event.blocker_setbacks), (event.blocked_id, event.blocked_setbacks)
                ),
                ended_at=event.ended_at,
                blocked_by=event.blocked_by,
            )
        case _:
            return state


def decide_add(state: Friendship, user_id: str, friend_id: str, now: datetime) -> tuple[Event, ...]:
    """Requests a friendship, or accepts the other's request; no event if the user has already done so.

    Raises:
        SelfFriendship: both are the same person.
        Blocked: the user blocks the other.
        RequestTooSoon: the user's last request was declined, or too many were withdrawn; with the seconds to wait.
    """
    if user_id == friend_id:
        raise SelfFriendship
    if user_id in state.blocked_by:
        raise Blocked
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
                    blocked_by=state.blocked_by,
                ),
            )


def decide_remove(state: Friendship, user_id: str, friend_id: str) -> tuple[Event, ...]:
    """Ends a friendship, declines or withdraws a request; no event if there is none that the user sees."""
    if user_id in state.blocked_by:
        return ()
    return _end(state, user_id, friend_id)


def decide_block(state: Friendship, user_id: str, blocked_id: str, now: datetime) -> tuple[Event, ...]:
    """Blocks the other, and ends a friendship or the user's request as `decide_remove` does; no event if blocked.

    The other's request ends for the user alone.

    Raises:
        SelfBlock: both are the same person.
    """
    if user_id == blocked_id:
        raise SelfBlock
    if user_id in state.blocked_by:
        return ()
    is_asked = relation(state, user_id) is Relation.INCOMING
    ended = _drop(state, user_id, blocked_id, goes_on=True) if is_asked else _end(state, user_id, blocked_id)
    after = state
    for event in ended:
        after = evolve(after, event, now)
    return (
        *ended,
        FriendshipBlocked(
            blocker_id=user_id,
            blocked_id=blocked_id,
            blocker_setbacks=after.setbacks.get(user_id, 0),
            blocked_setbacks=after.setbacks.get(blocked_id, 0),
            ended_at=None if is_asked else after.ended_at,
            requested_at=state.requested_at if is_asked else None,
            reminded_at=state.reminded_at if is_asked else None,
            blocked_by=tuple(sorted((*state.blocked_by, user_id))),
        ),
    )


def decide_unblock(state: Friendship, user_id: str, blocked_id: str, now: datetime) -> tuple[Event, ...]:
    """Ends the user's block, and drops the other's request, if there is one; no event if there is no block.

    Raises:
        SelfBlock: both are the same person.
    """
    if user_id == blocked_id:
        raise SelfBlock
    if user_id not in state.blocked_by:
        return ()
    is_asked = state.status is Status.REQUESTED
    return (
        *(_drop(state, user_id, blocked_id) if is_asked else ()),
        FriendshipUnblocked(
            blocker_id=user_id,
            blocked_id=blocked_id,
            blocker_setbacks=state.setbacks.get(user_id, 0),
            blocked_setbacks=state.setbacks.get(blocked_id, 0),
            ended_at=state.ended_at,
            blocked_by=tuple(blocker for blocker in state.blocked_by if blocker != user_id),
        ),
    )


def _drop(state: Friendship, user_id: str, requester_id: str, *, goes_on: bool = False) -> tuple[Event, ...]:
    """Ends the other's request without counting a setback.

    `goes_on`: for the user alone; the other still sees it as pending.
    """
    return (
        FriendshipRemoved(
            remover_id=user_id,
            other_id=requester_id,
            remover_setbacks=state.setbacks.get(user_id, 0),
            other_setbacks=state.setbacks.get(requester_id, 0),
            request_goes_on=goes_on,
            blocked_by=state.blocked_by,
        ),
    )


def _end(state: Friendship, user_id: str, friend_id: str) -> tuple[Event, ...]:
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
            blocked_by=state.blocked_by,
        ),
    )


def asks(state: Friendship, user_id: str) -> bool:
    """Whether adding would create a request, as opposed to accepting one, changing nothing or being refused."""
    return user_id not in state.blocked_by and relation(state, user_id) in (Relation.NONE, Relation.REMOVED)


def relation(state: Friendship, user_id: str) -> Relation:
    if user_id in state.blocked_by:
        # Requests of the blocked user are not shown to the one who blocks.
        return Relation.REMOVED
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
