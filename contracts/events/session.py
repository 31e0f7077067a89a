"""Events of a session, and the alerts about an account. A refresh token is in none, only its generation."""

from typing import ClassVar

import msgspec

from contracts.events.event import Event, Moment
from contracts.values.personal_data import Personal


class SessionCreated(Event, frozen=True, kw_only=True):
    TYPE: ClassVar[str] = "session.created"
    user_id: str
    username: Personal[str]
    # The client's own description of the device; empty if it sent none.
    device: Personal[str]
    # The network address of the login, as much of it as the installation keeps; empty if none.
    address: Personal[str]
    # When the session ends if it is not refreshed.
    expires_at: Moment
    # Generation of the user's credential at login; a password change ends sessions of an older generation.
    credential: int = 0
    # Whether the login came without a valid device token. The first login of every account does.
    new_device: bool = False
    # The login came with a code, with a recovery code, or from a device remembered after one.
    second_factor: bool = False
    # Until when the device and the address are kept; None: as long as the account.
    origin_until: Moment | None = None


class SessionRefreshed(Event, frozen=True, kw_only=True):
    TYPE: ClassVar[str] = "session.refreshed"
    user_id: str
    # Of the refresh token that is valid from now on: 1 after login, 2 after the first refresh, …
    generation: int
    expires_at: Moment
    # As at the login.
    second_factor: bool = False


class SessionRevoked(Event, frozen=True, kw_only=True):
    TYPE: ClassVar[str] = "session.revoked"
    user_id: str
    # `logout`, `revoked_elsewhere`, `refresh_token_reused`, `password_changed`, `password_reset`, `not_me`, `operator`,
    # `erasure_requested`, `account_erased`
    reason: str
    # The operator's note; the envelope's actor names the operator.
    note: Personal[str] | None = None


class PastAlert(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An earlier alert about the same account."""

    kind: str
    # Id of the event that caused it.
    about: str
    at: Moment


class AccountAlerted(Event, frozen=True, kw_only=True):
    """On the account's alerts: something happened to the account that its owner is notified of."""

    TYPE: ClassVar[str] = "account.alerted"
    user_id: str
    # One of `ALERT_KINDS` in contracts/notification_kinds.py.
    kind: str
    # Id of the event that caused it.
    about: str
    # The session that was created or ended; None if it is about no session.
    session_id: str | None = None
    # The alerts of the last days, oldest first, so that the last event contains the whole state.
    recent: tuple[PastAlert, ...] = ()
