"""Which events an owner is alerted of, and which never."""

from datetime import UTC, datetime

import pytest

from contracts.envelope import Recorded
from contracts.events.data_export import DataExportMade, DataExportRequested
from contracts.events.event import Event
from contracts.events.second_factor import SecondFactorState, TotpConfirmed, TotpRemoved, TotpUsed
from contracts.events.session import AccountAlerted, SessionCreated, SessionRefreshed, SessionRevoked
from contracts.events.user import (
    AddressState,
    CredentialRehashed,
    CredentialSet,
    EmailChangeRequested,
    EmailReleased,
    EmailReplaced,
    EmailRestored,
    EmailVerified,
    PasswordChanged,
    PasswordVoided,
    UserErased,
    UserErasureCancelled,
    UserErasureRequested,
)
from services.auth.alerts.causes import Cause, cause_of

AT = datetime(2026, 1, 1, tzinfo=UTC)
ANNA, OF = "anna", "the aggregate"


def recorded(event: Event) -> Recorded[Event]:
    return Recorded(
        stream="SESSION", sequence=7, subject="", id="id", type=event.TYPE, aggregate_id=OF, version=1, at=AT,
        actor=None, correlation_id=None, causation_id=None, data=event,
    )  # fmt: skip


def login(*, new_device: bool) -> SessionCreated:
    return SessionCreated(
        user_id=ANNA, username=ANNA, device="", address="", expires_at=AT, credential=3, new_device=new_device
    )


CASES: list[tuple[Event, Cause | None]] = [
    (login(new_device=True), Cause(kind="new_device", user_id=ANNA, session_id=OF, generation=3)),
    (login(new_device=False), None),
    (SessionRefreshed(user_id=ANNA, generation=2, expires_at=AT), None),
    (SessionRevoked(user_id=ANNA, reason="logout"), None),
    (
        SessionRevoked(user_id=ANNA, reason="refresh_token_reused"),
        Cause(kind="refresh_token_reused", user_id=ANNA, session_id=OF),
    ),
    (
        DataExportRequested(export_id="one", session_id="here"),
        Cause(kind="data_export", user_id=OF, session_id="here"),
    ),
    (UserErasureRequested(erase_at=AT), Cause(kind="erasure_requested", user_id=OF, until=AT)),
    (UserErasureCancelled(), None),
    (UserErased(reason="requested"), None),
    (DataExportMade(export_id="one", file_id="file", parts=1, size=1), None),
    (AccountAlerted(user_id=ANNA, kind="new_device", about="id"), None),
    (CredentialSet(password_hash=""), None),
    (CredentialRehashed(password_hash="", generation=2), None),
    (
        PasswordChanged(password_hash="", generation=2, reason="password_changed", kept_session_id="kept"),
        Cause(kind="password_changed", user_id=OF, session_id="kept", generation=2),
    ),
    (
        PasswordChanged(password_hash="", generation=2, reason="password_reset"),
        Cause(kind="password_reset", user_id=OF, generation=2),
    ),
    (PasswordVoided(generation=2, reported="id", reported_at=AT), None),
    (
        TotpConfirmed(state=SecondFactorState(), session_id="here"),
        Cause(kind="two_factor_on", user_id=OF, session_id="here"),
    ),
    (
        TotpConfirmed(state=SecondFactorState(on_since=AT)),
        Cause(kind="two_factor_on", user_id=OF, at=AT),
    ),
    (EmailReplaced(user_id=ANNA, address=AddressState()), Cause(kind="email_changed", user_id=ANNA)),
    (EmailRestored(user_id=ANNA, address=AddressState()), Cause(kind="email_changed", user_id=ANNA)),
    (EmailReleased(user_id=ANNA, address=AddressState()), None),
    (EmailVerified(user_id=ANNA, address=AddressState()), None),
    (EmailChangeRequested(user_id=ANNA, address=AddressState()), None),
    (TotpUsed(state=SecondFactorState()), None),
    (TotpRemoved(state=SecondFactorState(), reason="user"), Cause(kind="two_factor_off", user_id=OF)),
]


@pytest.mark.parametrize(("event", "cause"), CASES)
def test_an_event_has_its_cause(event: Event, cause: Cause | None) -> None:
    assert cause_of(recorded(event)) == cause
