"""How much happens in an hour: messages, logins, and who was there.

How long messages wait to be seen is not here: it follows from the rows of `conversations`, which hold when each message
was sent and when it was seen (infra/cli/events/analytics.py asks for both).
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
    """Hours (UTC) in which nothing happened have no row.

    Active is who wrote, looked at messages or logged in. That costs a row for each person and hour, and nothing for
    what the same person does later in the hour.
    """

    version = 2
    streams = (MESSAGING, SESSION)
    # Nobody looks at the present hour to the second.
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


# One and the same object for all that happens in an hour: neither made nor hashed anew with each event.
@lru_cache(maxsize=1_000)
def _begin(hour: int) -> datetime:
    return _EPOCH + hour * _HOUR
