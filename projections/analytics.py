"""Messages, active people and logins an hour."""

from datetime import datetime

from contracts.envelope import Recorded
from contracts.events.message import MessageSent
from contracts.events.session import SessionCreated
from contracts.subjects import MESSAGING, PUBLIC_FILTERS, SESSION
from projections.engine import Projection, Write, handles


class Analytics(Projection):
    """Hours in which nothing happened have no row; who was active in an hour is a row of `active_people`."""

    version = 1
    streams = {MESSAGING: None, SESSION: PUBLIC_FILTERS[SESSION]}  # noqa: RUF012 - declared once, never changed
    tables = """
        CREATE TABLE {analytics} (
            hour timestamptz PRIMARY KEY,
            messages bigint NOT NULL DEFAULT 0,
            logins bigint NOT NULL DEFAULT 0
        );
        CREATE TABLE {active_people} (
            hour timestamptz,
            user_id uuid,
            messages bigint NOT NULL DEFAULT 0,
            PRIMARY KEY (hour, user_id)
        );
    """

    @handles(MessageSent)
    def sent(self, event: Recorded[MessageSent], write: Write) -> None:
        hour = _hour(event.at)
        write.upsert("analytics", key={"hour": hour}, add={"messages": 1})
        write.upsert("active_people", key={"hour": hour, "user_id": event.data.sender_id}, add={"messages": 1})

    @handles(SessionCreated)
    def logged_in(self, event: Recorded[SessionCreated], write: Write) -> None:
        write.upsert("analytics", key={"hour": _hour(event.at)}, add={"logins": 1})


def _hour(at: datetime) -> datetime:
    return at.replace(minute=0, second=0, microsecond=0)
