"""Which events of an account cause an alert, without I/O."""

from datetime import datetime

import msgspec

from contracts.envelope import Recorded
from contracts.events.data_export import DataExportRequested
from contracts.events.event import Event
from contracts.events.second_factor import TotpConfirmed, TotpRemoved
from contracts.events.session import SessionCreated, SessionRevoked
from contracts.events.user import EmailReplaced, EmailRestored, PasswordChanged, UserErasureRequested
from contracts.notification_kinds import (
    DATA_EXPORT,
    EMAIL_CHANGED,
    ERASURE_REQUESTED,
    NEW_DEVICE,
    PASSWORD_CHANGED,
    PASSWORD_RESET,
    REFRESH_TOKEN_REUSED,
    TWO_FACTOR_OFF,
    TWO_FACTOR_ON,
)

_RESET = "password_reset"  # a reason, not a password
_REUSED = "refresh_token_reused"  # a reason, not a token


class Cause(msgspec.Struct, frozen=True, kw_only=True):
    """The cause of an alert: what happened to the account, and when."""

    kind: str
    user_id: str
    # The session that was created or ended, or in which it was done; None if unknown.
    session_id: str | None = None
    # The credential's generation after the event; None: the current one.
    generation: int | None = None
    # When it happened; None: the event's time.
    at: datetime | None = None
    # Until when the owner can prevent it; None: it has happened.
    until: datetime | None = None


def cause_of(event: Recorded[Event]) -> Cause | None:
    """Returns what the owner of the account is alerted of; None for all other events."""
    match event.data:
        case SessionCreated(user_id=user_id, new_device=True, credential=generation):
            return Cause(kind=NEW_DEVICE, user_id=user_id, session_id=event.aggregate_id, generation=generation)
        case SessionRevoked(user_id=user_id, reason=reason) if reason == _REUSED:
            return Cause(kind=REFRESH_TOKEN_REUSED, user_id=user_id, session_id=event.aggregate_id)
        case PasswordChanged() as change:
            return Cause(
                kind=PASSWORD_RESET if change.reason == _RESET else PASSWORD_CHANGED,
                user_id=event.aggregate_id,
                session_id=change.kept_session_id,
                generation=change.generation,
            )
        case EmailReplaced(user_id=user_id) | EmailRestored(user_id=user_id):
            return Cause(kind=EMAIL_CHANGED, user_id=user_id)
        case TotpConfirmed(session_id=session_id, state=state):
            return Cause(kind=TWO_FACTOR_ON, user_id=event.aggregate_id, session_id=session_id, at=state.on_since)
        case TotpRemoved(session_id=session_id):
            return Cause(kind=TWO_FACTOR_OFF, user_id=event.aggregate_id, session_id=session_id)
        case DataExportRequested(session_id=session_id):
            return Cause(kind=DATA_EXPORT, user_id=event.aggregate_id, session_id=session_id)
        case UserErasureRequested(erase_at=erase_at):
            return Cause(kind=ERASURE_REQUESTED, user_id=event.aggregate_id, until=erase_at)
        case _:
            return None
