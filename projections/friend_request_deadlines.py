"""Pending friend requests with the times from which their deadlines are counted: the timers of contact's process.

The terms are settings and not in the rows, so other terms need no rebuild.
"""

from contracts.envelope import Recorded
from contracts.events.friendship import FriendshipAccepted, FriendshipCreated, FriendshipRemoved
from contracts.subjects import AUTH, CONTACT
from projections.engine import RowChanges, handles
from projections.engine.erasing import ERASED_USERS, ErasingProjection


class FriendRequestDeadlines(ErasingProjection):
    version = 3
    streams = (CONTACT, AUTH)
    # Only the sweep reads it, and days pass until a deadline.
    rest_seconds = 1.0
    tables = (
        """
        CREATE TABLE {friend_request_deadlines} (
            -- the friendship
            pair_id uuid PRIMARY KEY,
            requester_id uuid,
            addressee_id uuid,
            requested_at timestamptz,
            -- null: not yet
            reminded_at timestamptz
        );
        CREATE INDEX ON {friend_request_deadlines} (requested_at);
        CREATE INDEX ON {friend_request_deadlines} (reminded_at) WHERE reminded_at IS NOT NULL;
        -- The requests from and to users who are erased.
        CREATE INDEX ON {friend_request_deadlines} (requester_id);
        CREATE INDEX ON {friend_request_deadlines} (addressee_id);
        """
        + ERASED_USERS
    )
    # No row has a text; the process ends the requests of erased users.
    erasures = ()

    @handles(FriendshipCreated)
    def requested(self, event: Recorded[FriendshipCreated], write: RowChanges) -> None:
        request = event.data
        write.upsert(
            "friend_request_deadlines",
            key={"pair_id": event.aggregate_id},
            set={
                "requester_id": request.requester_id,
                "addressee_id": request.addressee_id,
                "requested_at": request.requested_at or event.at,
                "reminded_at": event.at if request.is_reminder else None,
            },
        )

    @handles(FriendshipAccepted, FriendshipRemoved)
    def ended(self, event: Recorded[FriendshipAccepted | FriendshipRemoved], write: RowChanges) -> None:
        if isinstance(event.data, FriendshipRemoved) and event.data.request_goes_on:
            return
        write.delete("friend_request_deadlines", key={"pair_id": event.aggregate_id})
