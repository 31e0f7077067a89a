"""Hourly analytics: counts of messages and logins, and the active users.

The time until a message is seen is not stored here. It follows from the rows of `conversations`, which hold when each
message was sent and seen (infra/cli/events/analytics.py queries both).
"""

from datetime import UTC, datetime, timedelta
from functools import lru_cache

from contracts.envelope import Recorded
from contracts.events.message import MessageSeen, MessageSent
from contracts.events.session import SessionCreated
from contracts.subjects import MESSAGING, SESSION
from projections.engine import Projection, RowChanges, handles

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_HOUR = timedelta(hours=1)


class Analytics(Projection):
    """Counts per hour (UTC); an hour without events has no row.

    A user who sent or saw messages or logged in is active in that hour. Each active user has one row per hour.
    """

    version = 2
    streams = (MESSAGING, SESSION)
    # The current hour need not be up to date to the second.
    rest_seconds = 0.25
    tables = """
        CREATE TABLE {analytics} (
            hour timestamptz PRIMARY KEY,
            messages bigint NOT NULL DEFAULT 0,
            logins bigint NOT NULL DEFAULT 0
        );
        CREATE TABLE {active_people} (
            hour timestamptz,
            user_id uuid,
            PRIMARY KEY (hour, user_id)
        );
    """

    @handles(MessageSent)
    def sent(self, event: Recorded[MessageSent], write: RowChanges) -> None:
        hour = _hour(event.at)
        write.upsert("analytics", key={"hour": hour}, add={"messages": 1})
        write.upsert("active_people", key={"hour": hour, "user_id": event.data.sender_id})

    @handles(MessageSeen)
    def seen(self, event: Recorded[MessageSeen], write: RowChanges) -> None:
        write.upsert("active_people", key={"hour": _hour(event.at), "user_id": event.data.reader_id})

    @handles(SessionCreated)
    def logged_in(self, event: Recorded[SessionCreated], write: RowChanges) -> None:
        hour = _hour(event.at)
        write.upsert("analytics", key={"hour": hour}, add={"logins": 1})
        write.upsert("active_people", key={"hour": hour, "user_id": event.data.user_id})


def _hour(at: datetime) -> datetime:
    return _begin((at - _EPOCH) // _HOUR)


# All events of an hour share one object, which is neither built nor hashed again for each event.
@lru_cache(maxsize=1_000)
def _begin(hour: int) -> datetime:
    return _EPOCH + hour * _HOUR
