"""User accounts, for the users themselves; run by the auth service, since it reads that service's private events.

A user's address is set by events of several aggregates, one for each address: the latest of them counts, also if an
earlier one is applied late.
"""

from contracts.envelope import Recorded
from contracts.events.second_factor import TotpConfirmed, TotpRemoved
from contracts.events.user import (
    EmailClaimed,
    EmailRegistrationRequested,
    EmailRestored,
    EmailVerified,
    UserCreated,
    UserEmailVerified,
)
from contracts.subjects import AUTH
from projections.engine import RowChanges, handles
from projections.engine.erasing import ERASED_USERS, ErasingProjection


class Users(ErasingProjection):
    version = 6
    streams = (AUTH,)
    # A batch may end between the events of one registration: a row without `created_at` is not a user yet.
    tables = (
        """
        CREATE TABLE {users} (
            user_id uuid PRIMARY KEY,
            username text,
            email text,
            -- of the event that set the address, in AUTH
            email_sequence bigint,
            email_verified boolean NOT NULL DEFAULT false,
            -- Whether the second factor is on.
            totp boolean NOT NULL DEFAULT false,
            created_at timestamptz,
            sequence bigint NOT NULL
        );
        """
        + ERASED_USERS
    )
    erasures = (
        """
        UPDATE {users} SET username = NULL, email = NULL
        WHERE user_id = ANY(%(users)s) AND num_nonnulls(username, email) > 0
        """,
    )

    @handles(EmailClaimed)
    def claimed(self, event: Recorded[EmailClaimed], write: RowChanges) -> None:
        _set_email(event.data.user_id, event.data.email, event.sequence, write)

    @handles(EmailRegistrationRequested)
    def requested(self, event: Recorded[EmailRegistrationRequested], write: RowChanges) -> None:
        (email,) = [
            registration.email
            for registration in event.data.address.pending
            if registration.user_id == event.data.user_id
        ]
        _set_email(event.data.user_id, email, event.sequence, write)

    @handles(EmailVerified)
    def address_verified(self, event: Recorded[EmailVerified], write: RowChanges) -> None:
        # In the older form a verification could not change the address.
        if event.data.address is not None:
            _set_email(event.data.user_id, event.data.address.email, event.sequence, write)

    @handles(EmailRestored)
    def address_restored(self, event: Recorded[EmailRestored], write: RowChanges) -> None:
        _set_email(event.data.user_id, event.data.address.email, event.sequence, write)

    @handles(UserCreated)
    def created(self, event: Recorded[UserCreated], write: RowChanges) -> None:
        write.upsert(
            "users",
            key={"user_id": event.aggregate_id},
            set={"username": event.data.username or None, "created_at": event.at},
            greatest={"sequence": event.sequence},
        )

    @handles(UserEmailVerified)
    def verified(self, event: Recorded[UserEmailVerified], write: RowChanges) -> None:
        write.upsert(
            "users",
            key={"user_id": event.aggregate_id},
            set={"email_verified": True},
            greatest={"sequence": event.sequence},
        )

    @handles(TotpConfirmed)
    def second_factor_on(self, event: Recorded[TotpConfirmed], write: RowChanges) -> None:
        self._set_totp(event.aggregate_id, True, event.sequence, write)

    @handles(TotpRemoved)
    def second_factor_off(self, event: Recorded[TotpRemoved], write: RowChanges) -> None:
        self._set_totp(event.aggregate_id, False, event.sequence, write)

    def _set_totp(self, user_id: str, on: bool, sequence: int, write: RowChanges) -> None:
        write.upsert("users", key={"user_id": user_id}, set={"totp": on}, greatest={"sequence": sequence})


def _set_email(user_id: str, email: str | None, sequence: int, write: RowChanges) -> None:
    write.upsert(
        "users",
        key={"user_id": user_id},
        greatest={"sequence": sequence},
        greatest_by=({"email_sequence": sequence}, {"email": email or None}),
    )
