"""Each user's sessions, for the list of devices and for the sessions that ended since a client last checked."""

from collections.abc import Mapping
from typing import ClassVar

from contracts.envelope import Recorded
from contracts.events.session import SessionCreated, SessionRefreshed, SessionRevoked
from contracts.subjects import AUTH, SESSION
from projections.engine import RowChanges, handles
from projections.engine.erasing import ERASED_USERS, ErasingProjection


class Sessions(ErasingProjection):
    version = 4
    expires: ClassVar[Mapping[str, str]] = {"session_origins": "ends_at"}
    streams = (SESSION, AUTH)
    tables = (
        """
        CREATE TABLE {sessions} (
            session_id uuid PRIMARY KEY,
            user_id uuid NOT NULL,
            username text,
            -- Empty if they have a term.
            device text,
            address text,
            -- The generation of the credential that opened it.
            credential bigint,
            created_at timestamptz,
            last_refreshed_at timestamptz,
            expires_at timestamptz,
            revoked_at timestamptz,
            reason text,
            -- of its last event; nothing follows `session.revoked`
            sequence bigint NOT NULL
        );
        CREATE INDEX ON {sessions} (user_id, created_at DESC, session_id DESC);
        CREATE INDEX ON {sessions} (username);
        CREATE INDEX ON {sessions} (user_id, sequence) WHERE revoked_at IS NOT NULL;
        -- those of erased users, which are few
        CREATE INDEX ON {sessions} (user_id) WHERE username = '' AND revoked_at IS NULL;
        -- Devices and addresses with a term.
        CREATE TABLE {session_origins} (
            session_id uuid PRIMARY KEY,
            user_id uuid NOT NULL,
            device text,
            address text,
            ends_at timestamptz NOT NULL
        );
        CREATE INDEX ON {session_origins} (user_id);
        CREATE INDEX ON {session_origins} (ends_at);
        """
        + ERASED_USERS
    )
    erasures = (
        """
        UPDATE {sessions} SET username = '', device = '', address = ''
        WHERE user_id = ANY(%(users)s) AND (username, device, address) IS DISTINCT FROM ('', '', '')
        """,
        """
        UPDATE {session_origins} SET device = '', address = ''
        WHERE user_id = ANY(%(users)s) AND (device, address) IS DISTINCT FROM ('', '')
        """,
    )

    @handles(SessionCreated)
    def created(self, event: Recorded[SessionCreated], write: RowChanges) -> None:
        until = event.data.origin_until
        write.insert(
            "sessions",
            key={"session_id": event.aggregate_id},
            set={
                "user_id": event.data.user_id,
                "username": event.data.username,
                "device": event.data.device if until is None else "",
                "address": event.data.address if until is None else "",
                "credential": event.data.credential,
                "created_at": event.at,
                "last_refreshed_at": event.at,
                "expires_at": event.data.expires_at,
                "sequence": event.sequence,
            },
        )
        if until is not None:
            write.insert(
                "session_origins",
                key={"session_id": event.aggregate_id},
                set={
                    "user_id": event.data.user_id,
                    "device": event.data.device,
                    "address": event.data.address,
                    "ends_at": until,
                },
            )

    @handles(SessionRefreshed)
    def refreshed(self, event: Recorded[SessionRefreshed], write: RowChanges) -> None:
        write.update(
            "sessions",
            key={"session_id": event.aggregate_id},
            set={
                "last_refreshed_at": event.at,
                "expires_at": event.data.expires_at,
                "sequence": event.sequence,
            },
        )

    @handles(SessionRevoked)
    def revoked(self, event: Recorded[SessionRevoked], write: RowChanges) -> None:
        write.update(
            "sessions",
            key={"session_id": event.aggregate_id},
            set={"revoked_at": event.at, "reason": event.data.reason, "sequence": event.sequence},
        )
