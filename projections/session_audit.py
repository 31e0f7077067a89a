"""The login audit: every event of every session, in the order in which they happened."""

from contracts.envelope import Recorded
from contracts.events.session import SessionCreated, SessionRefreshed, SessionRevoked
from contracts.personal import plain
from contracts.subjects import SESSION
from projections.engine import Projection, Write, handles


class SessionAudit(Projection):
    version = 2
    streams = (SESSION,)
    # Username, device and address stand in the row of `session.created`; later rows of a session leave them empty.
    tables = """
        CREATE TABLE {session_audit} (
            sequence bigint PRIMARY KEY,
            at timestamptz NOT NULL,
            event text NOT NULL,
            user_id uuid NOT NULL,
            username text,
            session_id uuid NOT NULL,
            device text,
            address text,
            -- of the end: why, and what an operator said of it
            reason text,
            note text,
            -- who did it: a user's id, or an operator's name
            actor text
        );
        CREATE INDEX ON {session_audit} (user_id, at);
        CREATE INDEX ON {session_audit} (session_id)
    """

    @handles(SessionCreated)
    def created(self, event: Recorded[SessionCreated], write: Write) -> None:
        write.upsert(
            "session_audit",
            key={"sequence": event.sequence},
            set={
                "at": event.at,
                "event": event.type,
                "user_id": event.data.user_id,
                "username": event.data.username,
                "session_id": event.aggregate_id,
                "device": plain(event.data.device),
                "address": plain(event.data.address),
                "actor": event.actor,
            },
        )

    @handles(SessionRefreshed)
    def refreshed(self, event: Recorded[SessionRefreshed], write: Write) -> None:
        write.upsert("session_audit", key={"sequence": event.sequence}, set=_happened(event, event.data.user_id))

    @handles(SessionRevoked)
    def revoked(self, event: Recorded[SessionRevoked], write: Write) -> None:
        write.upsert(
            "session_audit",
            key={"sequence": event.sequence},
            set=_happened(event, event.data.user_id) | {"reason": event.data.reason, "note": plain(event.data.note)},
        )


def _happened(event: Recorded[SessionRefreshed] | Recorded[SessionRevoked], user_id: str) -> dict[str, object]:
    return {
        "at": event.at,
        "event": event.type,
        "user_id": user_id,
        "session_id": event.aggregate_id,
        "actor": event.actor,
    }
