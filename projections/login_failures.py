"""Failed logins, for the account's owner and for operators; run by auth, whose private events it reads."""

from collections.abc import Mapping
from typing import ClassVar

from contracts.envelope import Recorded
from contracts.events.login_failure import LoginFailed
from contracts.subjects import AUTH
from contracts.values.addresses import network_of
from projections.engine import RowChanges, handles
from projections.engine.erasing import ERASED_USERS, ErasingProjection


class LoginFailures(ErasingProjection):
    version = 3
    expires: ClassVar[Mapping[str, str]] = {"login_failures": "ends_at"}
    streams = (AUTH,)
    # Nobody waits for it.
    rest_seconds = 0.5
    tables = (
        """
        CREATE TABLE {login_failures} (
            sequence bigint PRIMARY KEY,
            at timestamptz NOT NULL,
            -- null: no account has the login
            user_id uuid,
            reason text NOT NULL,
            address text,
            -- the same for comparisons; null if the address is none of IP
            network inet,
            device text,
            -- failures that the row stands for, and when the first of them happened
            count int NOT NULL,
            since timestamptz NOT NULL,
            -- as the term of the address and the device; null: none
            ends_at timestamptz
        );
        CREATE INDEX ON {login_failures} (ends_at) WHERE ends_at IS NOT NULL;
        -- Pages are read backwards in time: of one user, or of all.
        CREATE INDEX ON {login_failures} (user_id, at, sequence);
        CREATE INDEX ON {login_failures} (at, sequence);
        """
        + ERASED_USERS
    )
    erasures = (
        """
        UPDATE {login_failures} SET address = '', network = NULL, device = ''
        WHERE user_id = ANY(%(users)s) AND ((address, device) IS DISTINCT FROM ('', '') OR network IS NOT NULL)
        """,
    )

    @handles(LoginFailed)
    def failed(self, event: Recorded[LoginFailed], write: RowChanges) -> None:
        address = event.data.address
        write.insert(
            "login_failures",
            key={"sequence": event.sequence},
            set={
                "at": event.at,
                "user_id": event.data.user_id,
                "reason": event.data.reason,
                "address": address,
                "network": network_of(address or ""),
                "device": event.data.device,
                "count": event.data.count,
                "since": event.data.since or event.at,
                "ends_at": event.data.origin_until,
            },
        )
