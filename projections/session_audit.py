"""The login audit: every session event, and the login that it belongs to.

An expired session has no event for its expiry; `expires_at` of its login gives the time.
"""

from collections.abc import Mapping
from typing import ClassVar

from contracts.envelope import Recorded
from contracts.events.session import SessionCreated, SessionRefreshed, SessionRevoked
from contracts.subjects import AUTH, SESSION
from contracts.values.addresses import network_of
from projections.engine import RowChanges, handles
from projections.engine.erasing import ERASED_USERS, ErasingProjection

_NO_ORIGIN = {"device": "", "address": "", "network": None}


class SessionAudit(ErasingProjection):
    version = 6
    expires: ClassVar[Mapping[str, str]] = {"session_audit_origins": "ends_at"}
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
            -- who did it: a user's id, or `operator:` and an operator's login name or account id
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
            -- Empty if they have a term.
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
        -- Devices and addresses with a term.
        CREATE TABLE {session_audit_origins} (
            session_id uuid PRIMARY KEY,
            user_id uuid NOT NULL,
            device text,
            address text,
            network inet,
            ends_at timestamptz NOT NULL
        );
        CREATE INDEX ON {session_audit_origins} (user_id);
        CREATE INDEX ON {session_audit_origins} (ends_at);
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
        """
        UPDATE {session_audit_origins} SET device = '', address = '', network = NULL
        WHERE user_id = ANY(%(users)s) AND ((device, address) IS DISTINCT FROM ('', '') OR network IS NOT NULL)
        """,
    )

    @handles(SessionCreated)
    def created(self, event: Recorded[SessionCreated], write: RowChanges) -> None:
        _happened(event, write)
        until, address = event.data.origin_until, event.data.address
        origin = {"device": event.data.device, "address": address, "network": network_of(address or "")}
        write.upsert(
            "session_audit_logins",
            key={"session_id": event.aggregate_id},
            set={
                "user_id": event.data.user_id,
                "username": event.data.username,
                **(origin if until is None else _NO_ORIGIN),
                "new_device": event.data.new_device,
                "second_factor": event.data.second_factor,
                "expires_at": event.data.expires_at,
                "sequence": event.sequence,
            },
        )
        if until is not None:
            write.insert(
                "session_audit_origins",
                key={"session_id": event.aggregate_id},
                set={"user_id": event.data.user_id, **origin, "ends_at": until},
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
