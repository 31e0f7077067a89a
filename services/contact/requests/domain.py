"""What time does to a friend request: a reminder after some days, and its cancellation later.

The friendship's stream has the state, the read model `friend_request_deadlines` has the timers. A reminder is the
request's event once more, with `requested_at`; a cancellation is a withdrawal in the requester's name.
"""

from datetime import datetime, timedelta

import msgspec

from contracts.events.event import Event
from contracts.events.friendship import FriendshipCreated, FriendshipRemoved
from services.contact.domain import WITHDRAWN, Friendship, Status


class RequestTerms(msgspec.Struct, frozen=True, kw_only=True):
    """When a request that is not answered is reminded of, and when it is cancelled."""

    # After the request; None: never.
    remind_after: timedelta | None
    cancel_after: timedelta | None

    @classmethod
    def of_days(cls, remind: float, cancel: float) -> "RequestTerms":
        """Terms in days; 0: never."""
        return cls(
            remind_after=timedelta(days=remind) if remind else None,
            cancel_after=timedelta(days=cancel) if cancel else None,
        )

    @property
    def cancel_after_reminder(self) -> timedelta | None:
        """Time from a request's reminder to its cancellation; None if it is cancelled without one, or never.

        A request that is older than both terms is reminded of first, such as after these terms were shortened.
        """
        if self.remind_after is None or self.cancel_after is None or self.cancel_after <= self.remind_after:
            return None
        return self.cancel_after - self.remind_after

    def is_reminder_due(self, state: Friendship, now: datetime) -> bool:
        return (
            self.remind_after is not None
            and state.requested_at is not None
            and state.reminded_at is None
            and state.requested_at + self.remind_after <= now
        )

    def is_cancellation_due(self, state: Friendship, now: datetime) -> bool:
        if self.cancel_after is None or state.requested_at is None:
            return False
        after_reminder = self.cancel_after_reminder
        if after_reminder is None:
            return state.requested_at + self.cancel_after <= now
        return state.reminded_at is not None and state.reminded_at + after_reminder <= now


def decide_remind(state: Friendship, addressee_id: str, terms: RequestTerms, now: datetime) -> tuple[Event, ...]:
    """Reminds the addressee of a pending request, once; no event if that is not due.

    No event either if the addressee asked meanwhile: the read model that names the addressee may lag.
    Also if the addressee blocks the requester: then no one is notified, and the request lasts as long as any other.
    """
    if not _is_pending_to(addressee_id, state) or not terms.is_reminder_due(state, now):
        return ()
    return (
        FriendshipCreated(
            requester_id=state.requester_id,
            addressee_id=addressee_id,
            requester_setbacks=state.setbacks.get(state.requester_id, 0),
            addressee_setbacks=state.setbacks.get(addressee_id, 0),
            blocked_by=state.blocked_by,
            requested_at=state.requested_at,
        ),
    )


def decide_cancel(state: Friendship, addressee_id: str, terms: RequestTerms, now: datetime) -> tuple[Event, ...]:
    """Cancels a pending request, which counts as withdrawn; no event if that is not due, or it is another request."""
    if not _is_pending_to(addressee_id, state) or not terms.is_cancellation_due(state, now):
        return ()
    return (
        FriendshipRemoved(
            remover_id=state.requester_id,
            other_id=addressee_id,
            remover_setbacks=state.setbacks.get(state.requester_id, 0) + WITHDRAWN,
            other_setbacks=state.setbacks.get(addressee_id, 0),
            blocked_by=state.blocked_by,
            expired=True,
        ),
    )


def decide_cancel_of_erased(state: Friendship, addressee_id: str) -> tuple[Event, ...]:
    """Ends a pending request of which one user was erased, as if it had been withdrawn, and at no one's cost."""
    if not _is_pending_to(addressee_id, state):
        return ()
    return (
        FriendshipRemoved(
            remover_id=state.requester_id,
            other_id=addressee_id,
            remover_setbacks=state.setbacks.get(state.requester_id, 0),
            other_setbacks=state.setbacks.get(addressee_id, 0),
            blocked_by=state.blocked_by,
        ),
    )


def _is_pending_to(addressee_id: str, state: Friendship) -> bool:
    return state.status is Status.REQUESTED and state.requester_id != addressee_id
