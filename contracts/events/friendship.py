"""Events of the friendship of two people; the aggregate's id is derived from their ids (`pair_id`)."""

from typing import ClassVar

from contracts.events.event import Event


class FriendshipCreated(Event, frozen=True, kw_only=True):
    """One user sent the other a friend request."""

    TYPE: ClassVar[str] = "friendship.created"
    requester_id: str
    addressee_id: str
    # Weight of the unsuccessful requests that each made since the two were last friends: 3 per declined request, 1 per
    # withdrawn one.
    requester_setbacks: int = 0
    addressee_setbacks: int = 0


class FriendshipAccepted(Event, frozen=True, kw_only=True):
    """The addressee accepted the request: the two may chat."""

    TYPE: ClassVar[str] = "friendship.accepted"
    requester_id: str
    addressee_id: str


class FriendshipRemoved(Event, frozen=True, kw_only=True):
    """One of the two ended the friendship, or declined or withdrew the request: access to the chat ends."""

    TYPE: ClassVar[str] = "friendship.removed"
    # The user who ended, declined or withdrew it, and the other one.
    remover_id: str
    other_id: str
    # As in `friendship.created`, this request included; 0 after a friendship.
    remover_setbacks: int = 0
    other_setbacks: int = 0
