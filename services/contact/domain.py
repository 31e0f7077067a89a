"""A friendship of two people: asked for by one, accepted by the other, ended by either, and begun anew."""

from datetime import datetime
from enum import StrEnum

import msgspec

from contracts.errors import SelfFriendship
from contracts.event import Event
from contracts.events.friendship import FriendshipAccepted, FriendshipCreated, FriendshipRemoved


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
    # Who asked; empty before anyone has.
    requester_id: str = ""


def evolve(state: Friendship, event: Event, at: datetime) -> Friendship:
    match event:
        case FriendshipCreated():
            return Friendship(status=Status.REQUESTED, requester_id=event.requester_id)
        case FriendshipAccepted():
            return Friendship(status=Status.ACCEPTED, requester_id=event.requester_id)
        case FriendshipRemoved():
            return Friendship(status=Status.REMOVED)
        case _:
            return state


def decide_add(state: Friendship, user_id: str, friend_id: str) -> tuple[Event, ...]:
    """Asks, or accepts where the other had asked; nothing where the user had done either before.

    Raises:
        SelfFriendship: both are the same person.
    """
    if user_id == friend_id:
        raise SelfFriendship
    match relation(state, user_id):
        case Relation.OUTGOING | Relation.ACCEPTED:
            return ()
        case Relation.INCOMING:
            return (FriendshipAccepted(requester_id=friend_id, addressee_id=user_id),)
        case _:
            return (FriendshipCreated(requester_id=user_id, addressee_id=friend_id),)


def decide_remove(state: Friendship, user_id: str, friend_id: str) -> tuple[Event, ...]:
    """Ends a friendship, declines or withdraws a request; nothing where there is none."""
    if state.status in (Status.REQUESTED, Status.ACCEPTED):
        return (FriendshipRemoved(remover_id=user_id, other_id=friend_id),)
    return ()


def relation(state: Friendship, user_id: str) -> Relation:
    if state.status is Status.REQUESTED:
        return Relation.OUTGOING if state.requester_id == user_id else Relation.INCOMING
    return Relation(state.status.value)
