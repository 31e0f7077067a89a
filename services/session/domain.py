"""What may happen to a session, without I/O.

A refresh token names its session and a generation. The session knows which generation is good; every refresh makes
the next one. A spent token means that two parties hold the session, of whom one has stolen it: the session ends.
The one exception is a token spent moments ago whose successor nobody has used: an answer was lost on its way, or two
tabs refreshed at once. That one is served again.
"""

from datetime import datetime, timedelta

import msgspec

from contracts.errors import InvalidRefreshToken, SessionNotFound
from contracts.events.event import Event
from contracts.events.session import SessionCreated, SessionRefreshed, SessionRevoked

# How long a spent token is served again.
GRACE = timedelta(seconds=30)
REUSED = "refresh_token_reused"


class Session(msgspec.Struct, frozen=True, kw_only=True):
    # None: there is no such session.
    user_id: str | None = None
    # Of the refresh token that is good now.
    generation: int = 0
    # When that generation began.
    refreshed_at: datetime | None = None
    expires_at: datetime | None = None
    revoked: bool = False

    def active(self, at: datetime) -> bool:
        return self.user_id is not None and not self.revoked and self.expires_at is not None and at < self.expires_at


def evolve(state: Session, event: Event, at: datetime) -> Session:
    """What the last event alone says: a session may be refreshed for years and is never read from its beginning."""
    match event:
        case SessionCreated():
            return Session(user_id=event.user_id, generation=1, refreshed_at=at, expires_at=event.expires_at)
        case SessionRefreshed():
            return Session(
                user_id=event.user_id, generation=event.generation, refreshed_at=at, expires_at=event.expires_at
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
    # The generation of the credential that opens it.
    credential: int = 0


class Terms(msgspec.Struct, frozen=True):
    """How long sessions last."""

    # After the last refresh, or the login.
    idle: timedelta
    # After the login, however often they are refreshed.
    longest: timedelta

    def end(self, began: datetime, now: datetime) -> datetime:
        """When a session that began then ends, if it is refreshed now and not again."""
        return min(now + self.idle, began + self.longest)


def decide_create(command: CreateSession, now: datetime, terms: Terms) -> tuple[Event, ...]:
    return (
        SessionCreated(
            user_id=command.user_id,
            username=command.username,
            device=command.device,
            address=command.address,
            expires_at=terms.end(now, now),
            credential=command.credential,
        ),
    )


def decide_refresh(
    state: Session, generation: int, *, began: datetime, now: datetime, terms: Terms
) -> tuple[Event, ...]:
    """The next generation; nothing where a spent token is served again; the session's end where one was reused.

    `began`: when the session was made.

    Raises:
        InvalidRefreshToken: the session is not there, has ended or run out, or never had this generation.
    """
    # The second end counts for sessions whose last event is from before there was one, or a longer one.
    if not state.active(now) or now >= began + terms.longest or generation > state.generation or generation < 1:
        raise InvalidRefreshToken
    assert state.user_id is not None
    if generation == state.generation:
        expires_at = terms.end(began, now)
        return (SessionRefreshed(user_id=state.user_id, generation=generation + 1, expires_at=expires_at),)
    if generation == state.generation - 1 and state.refreshed_at is not None and now - state.refreshed_at <= GRACE:
        return ()
    return (SessionRevoked(user_id=state.user_id, reason=REUSED),)


def decide_revoke(
    state: Session, user_id: str, reason: str, now: datetime, note: str | None = None
) -> tuple[Event, ...]:
    """Ends the session.

    Raises:
        SessionNotFound: there is none, it is another user's, or it has ended before.
    """
    if state.user_id != user_id or not state.active(now):
        raise SessionNotFound
    return (SessionRevoked(user_id=user_id, reason=reason, note=note),)
