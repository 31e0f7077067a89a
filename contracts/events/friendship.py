"""Events of the friendship of two people; the aggregate's id is derived from their ids (`pair_id`).

Blocks are part of it, so that a block and an acceptance at the same moment have one order. The last event contains the
whole state.
"""

from typing import ClassVar

from contracts.events.event import Event, Moment


class FriendshipEvent(Event, frozen=True, kw_only=True):
    """Base of these events."""

    # Which of the two block the other after this event, sorted. A request to someone who blocks the requester stays
    # outgoing for the requester, and the one who blocks learns nothing of it or its end.
    blocked_by: tuple[str, ...] = ()


class FriendshipCreated(FriendshipEvent, frozen=True, kw_only=True):
    """One user sent the other a friend request; with `requested_at`, the addressee is reminded of it."""

    TYPE: ClassVar[str] = "friendship.created"
    requester_id: str
    addressee_id: str
    # Weight of the unsuccessful requests that each made since the two were last friends: 3 per declined request, 1 per
    # withdrawn one.
    requester_setbacks: int = 0
    addressee_setbacks: int = 0
    # Of a reminder: when the request was sent, which goes on as it was. None: this is the request.
    requested_at: Moment | None = None

    @property
    def is_reminder(self) -> bool:
        return self.requested_at is not None


class FriendshipAccepted(FriendshipEvent, frozen=True, kw_only=True):
    """The addressee accepted the request: the two may chat."""

    TYPE: ClassVar[str] = "friendship.accepted"
    requester_id: str
    addressee_id: str


class FriendshipRemoved(FriendshipEvent, frozen=True, kw_only=True):
    """One of the two ended the friendship, or declined or withdrew the request: access to the chat ends.

    A request that was not answered in time is withdrawn in the requester's name, with `expired`. One whose addressee
    blocks the requester ends for the addressee alone, with `request_goes_on`: `friendship.blocked` follows with it."""

    TYPE: ClassVar[str] = "friendship.removed"
    # The user who ended, declined or withdrew it, and the other one.
    remover_id: str
    other_id: str
    # As in `friendship.created`, this request included; 0 after a friendship.
    remover_setbacks: int = 0
    other_setbacks: int = 0
    expired: bool = False
    request_goes_on: bool = False


class FriendshipBlocked(FriendshipEvent, frozen=True, kw_only=True):
    """One of the two blocked the other. A friendship or request between them has ended before, by an event of its own.

    Appended together with that event. The blocked user's request goes on for that user alone."""

    TYPE: ClassVar[str] = "friendship.blocked"
    blocker_id: str
    blocked_id: str
    # As in `friendship.created`.
    blocker_setbacks: int = 0
    blocked_setbacks: int = 0
    # When the last request or friendship ended; None if there was none.
    ended_at: Moment | None = None
    # When the blocked user sent the request that goes on, and when the blocker was reminded of it; None: there is no
    # such request, or no reminder yet.
    requested_at: Moment | None = None
    reminded_at: Moment | None = None


class FriendshipUnblocked(FriendshipEvent, frozen=True, kw_only=True):
    """The user ended the block. A request of the other has ended before, by an event of its own, and at no cost."""

    TYPE: ClassVar[str] = "friendship.unblocked"
    blocker_id: str
    blocked_id: str
    # As in `friendship.blocked`; None also if a request was dropped.
    blocker_setbacks: int = 0
    blocked_setbacks: int = 0
    ended_at: Moment | None = None
