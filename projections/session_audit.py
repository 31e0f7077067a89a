"""The login audit: every session event, and the login that it belongs to.

An expired session has no event for its expiry; `expires_at` of its login gives the time.
"""

from contracts.envelope import Recorded
from contracts.events.session import SessionCreated, SessionRefreshed, SessionRevoked
from contracts.subjects import AUTH, SESSION
from contracts.values.addresses import network_of
from projections.engine import RowChanges, handles
from projections.engine.erasing import ERASED_USERS, ErasingProjection


class SessionAudit(ErasingProjection):
    version = 5
    streams = (SESSION, AUTH)
    tables = (
        """
        CREATE TABLE {session_audit} (
            sequence bigint PRIMARY KEY,
            at timestamptz NOT NULL,
            event text NOT NULL,
            user_id uuid NOT NULL,
            session_id uuid NOT NULL,
            -- of the end: the reason, and the operator's note
            reason text,
            note text,
            -- who did it: a user's id, or an operator's name
            actor text
        );
        -- Pages are read backwards in time: all events, all without refreshes, those of one user.
        CREATE INDEX ON {session_audit} (at, sequence);
        CREATE INDEX ON {session_audit} (at, sequence) WHERE event <> 'session.refreshed';
        CREATE INDEX ON {session_audit} (user_id, at, sequence);
        CREATE TABLE {session_audit_logins} (
            session_id uuid PRIMARY KEY,
            user_id uuid NOT NULL,
            username text,
            device text,
            address text,
            -- the address for comparisons; null if it is none of IP
            network inet,
            -- whether the login came without the token of an earlier one
            new_device boolean,
            -- whether a second factor was proved, now or earlier on a device that is remembered
            second_factor boolean,
            -- from its last event
            expires_at timestamptz,
            revoked_at timestamptz,
            -- of its last event before the revocation
            sequence bigint NOT NULL
        );
        CREATE INDEX ON {session_audit_logins} (username);
        CREATE INDEX ON {session_audit_logins} (user_id, expires_at);
        CREATE INDEX ON {session_audit_logins} (expires_at, sequence)
            WHERE revoked_at IS NULL OR revoked_at >= expires_at;
        """
        + ERASED_USERS
    )
    erasures = (
        "UPDATE {session_audit} SET note = NULL WHERE user_id = ANY(%(users)s) AND note IS NOT NULL",
        """
        UPDATE {session_audit_logins} SET username = '', device = '', address = '', network = NULL
        WHERE user_id = ANY(%(users)s)
            AND ((username, device, address) IS DISTINCT FROM ('', '', '') OR network IS NOT NULL)
        """,
    )

    @handles(SessionCreated)
    def created(self, event: Recorded[SessionCreated], write: RowChanges) -> None:
        _happened(event, write)
        address = event.data.address
        write.upsert(
            "session_audit_logins",
            key={"session_id": event.aggregate_id},
            set={
                "user_id": event.data.user_id,
                "username": event.data.username,
                "device": event.data.device,
                "address": address,
                "network": network_of(address or ""),
                "new_device": event.data.new_device,
                "second_factor": event.data.second_factor,
                "expires_at": event.data.expires_at,
                "sequence": event.sequence,
            },
        )

    @handles(SessionRefreshed)
    def refreshed(self, event: Recorded[SessionRefreshed], write: RowChanges) -> None:
        _happened(event, write)
        write.update(
            "session_audit_logins",
            key={"session_id": event.aggregate_id},
            set={"expires_at": event.data.expires_at, "sequence": event.sequence},
        )

    @handles(SessionRevoked)
    def revoked(self, event: Recorded[SessionRevoked], write: RowChanges) -> None:
        _happened(event, write, reason=event.data.reason, note=event.data.note or None)
        write.update("session_audit_logins", key={"session_id": event.aggregate_id}, set={"revoked_at": event.at})


def _happened(
    event: Recorded[SessionCreated] | Recorded[SessionRefreshed] | Recorded[SessionRevoked],
    write: RowChanges,
    **end: str | None,
) -> None:
    write.insert(
        "session_audit",
        key={"sequence": event.sequence},
        set={
            "at": event.at,
            "event": event.type,
            "user_id": event.data.user_id,
            "session_id": event.aggregate_id,
            "actor": event.actor,
            **end,
        },
    )
