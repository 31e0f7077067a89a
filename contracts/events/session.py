"""What happens to a session. Events hold the generation of a refresh token, never a token."""

from typing import ClassVar

from contracts.events.event import Event, Moment
from contracts.values.personal_data import Personal


class SessionCreated(Event, frozen=True, kw_only=True):
    TYPE: ClassVar[str] = "session.created"
    user_id: str
    username: str
    # What the client calls itself; empty if it did not say.
    device: Personal[str]
    # The network address of the login, as much of it as the installation keeps; empty if none.
    address: Personal[str]
    # When the session ends if it is not refreshed.
    expires_at: Moment
    # The generation of the user's credential that opened it; a change of the password ends those of an older one.
    credential: int = 0


class SessionRefreshed(Event, frozen=True, kw_only=True):
    TYPE: ClassVar[str] = "session.refreshed"
    user_id: str
    # Of the refresh token that is good from now on: 1 after login, 2 after the first refresh, …
    generation: int
    expires_at: Moment


class SessionRevoked(Event, frozen=True, kw_only=True):
    TYPE: ClassVar[str] = "session.revoked"
    user_id: str
    # `logout`, `revoked_elsewhere`, `refresh_token_reused`, `password_changed`, `password_reset`, `operator`
    reason: str
    # What an operator says of it; who it was is the envelope's actor.
    note: Personal[str] | None = None
