"""What happens to the friendship of two people; the aggregate's id is derived from the two (pair_id)."""

from typing import ClassVar

from contracts.events.event import Event


class FriendshipCreated(Event, frozen=True, kw_only=True):
    """One asked the other."""

    TYPE: ClassVar[str] = "friendship.created"
    requester_id: str
    addressee_id: str
    # Of the requests that each had made since the two were last friends, and that came to nothing: a weight, 3 for one
    # that was declined and 1 for one that was withdrawn.
    requester_setbacks: int = 0
    addressee_setbacks: int = 0


class FriendshipAccepted(Event, frozen=True, kw_only=True):
    """The one who was asked agreed: the two may chat."""

    TYPE: ClassVar[str] = "friendship.accepted"
    requester_id: str
    addressee_id: str


class FriendshipRemoved(Event, frozen=True, kw_only=True):
    """One of the two ended, declined or withdrew it: access to the chat ends."""

    TYPE: ClassVar[str] = "friendship.removed"
    # Who did it, and the other.
    remover_id: str
    other_id: str
    # As in `friendship.created`, this request included; 0 after a friendship.
    remover_setbacks: int = 0
    other_setbacks: int = 0
