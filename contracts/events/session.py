"""Events of a session. They contain the generation of a refresh token, never the token."""

from typing import ClassVar

from contracts.events.event import Event, Moment
from contracts.values.personal_data import Personal


class SessionCreated(Event, frozen=True, kw_only=True):
    TYPE: ClassVar[str] = "session.created"
    user_id: str
    username: str
    # The client's own description of the device; empty if it sent none.
    device: Personal[str]
    # The network address of the login, as much of it as the installation keeps; empty if none.
    address: Personal[str]
    # When the session ends if it is not refreshed.
    expires_at: Moment
    # Generation of the user's credential at login; a password change ends sessions of an older generation.
    credential: int = 0


class SessionRefreshed(Event, frozen=True, kw_only=True):
    TYPE: ClassVar[str] = "session.refreshed"
    user_id: str
    # Of the refresh token that is valid from now on: 1 after login, 2 after the first refresh, …
    generation: int
    expires_at: Moment


class SessionRevoked(Event, frozen=True, kw_only=True):
    TYPE: ClassVar[str] = "session.revoked"
    user_id: str
    # `logout`, `revoked_elsewhere`, `refresh_token_reused`, `password_changed`, `password_reset`, `operator`
    reason: str
    # The operator's note; the envelope's actor names the operator.
    note: Personal[str] | None = None
