"""Accounts that are to be erased, and those whose erasure is not complete: the timers of auth's process."""

from contracts.envelope import Recorded
from contracts.events.user import UserErased, UserErasureCancelled, UserErasureCompleted, UserErasureRequested
from contracts.subjects import AUTH
from projections.engine import Projection, RowChanges, handles


class Erasures(Projection):
    version = 1
    streams = (AUTH,)
    # Only the sweep reads it.
    rest_seconds = 1.0
    tables = """
        CREATE TABLE {erasures} (
            user_id uuid PRIMARY KEY,
            -- null: an operator erased it at once
            erase_at timestamptz,
            -- null: not yet
            erased_at timestamptz
        );
        CREATE INDEX ON {erasures} (erase_at) WHERE erased_at IS NULL;
        CREATE INDEX ON {erasures} (erased_at) WHERE erased_at IS NOT NULL;
    """

    @handles(UserErasureRequested)
    def requested(self, event: Recorded[UserErasureRequested], write: RowChanges) -> None:
        write.upsert("erasures", key={"user_id": event.aggregate_id}, set={"erase_at": event.data.erase_at})

    @handles(UserErased)
    def erased(self, event: Recorded[UserErased], write: RowChanges) -> None:
        write.upsert("erasures", key={"user_id": event.aggregate_id}, set={"erased_at": event.at})

    @handles(UserErasureCancelled, UserErasureCompleted)
    def ended(self, event: Recorded[UserErasureCancelled | UserErasureCompleted], write: RowChanges) -> None:
        write.delete("erasures", key={"user_id": event.aggregate_id})
