"""The session aggregate and its decisions, without I/O.

A refresh token contains its session and a generation. The session stores the valid generation; every refresh
increments it. A reused token means that two parties hold the session, one of whom has stolen it: the session ends.
The exception is a token used within `GRACE` whose successor has not been used: a response was lost, or two tabs
refreshed at the same time. It is accepted again.
"""

from datetime import datetime, timedelta

import msgspec

from contracts.errors import InvalidRefreshToken, SessionNotFound, Unavailable
from contracts.events.event import Event
from contracts.events.session import SessionCreated, SessionRefreshed, SessionRevoked

# How long a used token is accepted again.
GRACE = timedelta(seconds=30)
REUSED = "refresh_token_reused"


class Session(msgspec.Struct, frozen=True, kw_only=True):
    # None: no such session.
    user_id: str | None = None
    # Of the refresh token that is valid now.
    generation: int = 0
    # When that generation was issued.
    refreshed_at: datetime | None = None
    expires_at: datetime | None = None
    # Whether the login came with a second factor.
    second_factor: bool = False
    revoked: bool = False

    def active(self, at: datetime) -> bool:
        return self.user_id is not None and not self.revoked and self.expires_at is not None and at < self.expires_at


def evolve(state: Session, event: Event, at: datetime) -> Session:
    """Derives the state from the last event alone, so that loading reads one event however old the session is."""
    match event:
        case SessionCreated():
            return Session(
                user_id=event.user_id,
                generation=1,
                refreshed_at=at,
                expires_at=event.expires_at,
                second_factor=event.second_factor,
            )
        case SessionRefreshed():
            return Session(
                user_id=event.user_id,
                generation=event.generation,
                refreshed_at=at,
                expires_at=event.expires_at,
                second_factor=event.second_factor,
            )
        case SessionRevoked():
            return Session(user_id=event.user_id, revoked=True)
        case _:
            return state


class CreateSession(msgspec.Struct, frozen=True, kw_only=True):
    user_id: str
    username: str
    device: str
    address: str
    # Generation of the credential used for the login.
    credential: int = 0
    # Whether the login came without a valid device token.
    new_device: bool = False
    # Whether the login came with a second factor.
    second_factor: bool = False


class Terms(msgspec.Struct, frozen=True):
    """Lifetimes of sessions, and of what is known of their logins."""

    # From the last refresh, or the login.
    idle: timedelta
    # From the login, however often the session is refreshed.
    longest: timedelta
    # Of a login's device and address; None: as long as the account.
    origin: timedelta | None = None

    def end(self, began: datetime, now: datetime) -> datetime:
        """Returns when a session created at `began` expires if it is refreshed now and not again."""
        return min(now + self.idle, began + self.longest)


def decide_create(state: Session, command: CreateSession, now: datetime, terms: Terms) -> tuple[Event, ...]:
    """Creates the session; no event if it exists, since the call was repeated.

    Raises:
        Unavailable: the session has already ended, or is another user's; another login creates another session.
    """
    if state.user_id is not None:
        if state.user_id != command.user_id or not state.active(now):
            raise Unavailable
        return ()
    return (
        SessionCreated(
            user_id=command.user_id,
            username=command.username,
            device=command.device,
            address=command.address,
            expires_at=terms.end(now, now),
            credential=command.credential,
            new_device=command.new_device,
            second_factor=command.second_factor,
            origin_until=None if terms.origin is None else now + terms.origin,
        ),
    )


def decide_refresh(
    state: Session, generation: int, *, began: datetime, now: datetime, terms: Terms
) -> tuple[Event, ...]:
    """Begins the next generation. No event if a used token is accepted again; ends the session if one is reused.

    `began`: when the session was created.

    Raises:
        InvalidRefreshToken: the session does not exist, has ended or expired, or never had this generation.
    """
    # `longest` is checked again for sessions whose last event was recorded without it, or with a longer one.
    if not state.active(now) or now >= began + terms.longest or generation > state.generation or generation < 1:
        raise InvalidRefreshToken
    assert state.user_id is not None
    if generation == state.generation:
        expires_at = terms.end(began, now)
        return (
            SessionRefreshed(
                user_id=state.user_id,
                generation=generation + 1,
                expires_at=expires_at,
                second_factor=state.second_factor,
            ),
        )
    if generation == state.generation - 1 and state.refreshed_at is not None and now - state.refreshed_at <= GRACE:
        return ()
    return (SessionRevoked(user_id=state.user_id, reason=REUSED),)


def decide_revoke(
    state: Session, user_id: str, reason: str, now: datetime, note: str | None = None
) -> tuple[Event, ...]:
    """Ends the session.

    Raises:
        SessionNotFound: there is none, it is another user's, or it has already ended.
    """
    if state.user_id != user_id or not state.active(now):
        raise SessionNotFound
    return (SessionRevoked(user_id=user_id, reason=reason, note=note),)
