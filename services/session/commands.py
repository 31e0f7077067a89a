"""Load, decide, append: creates, refreshes and revokes sessions."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import msgspec

from contracts import envelope, subjects
from contracts.envelope import Provenance
from contracts.errors import RefreshTokenReused, SessionNotFound
from contracts.events.session import SessionRevoked
from contracts.values.addresses import Keeps, truncate_address
from contracts.values.ids import made_at, new_id
from services.session import domain
from services.session.alerts import domain as alerts
from services.session.alerts.domain import Alerts, RecordAlert
from services.session.domain import Session, Terms
from services.session.tokens import AccessTokens, RefreshToken, RefreshTokens
from streams.log import Log
from streams.repository import Repository

# Sessions of one user that are ended concurrently.
_AT_ONCE = 16


class IssuedTokens(msgspec.Struct, frozen=True, kw_only=True):
    user_id: str
    session_id: str
    access_token: str
    # Seconds until the access token expires.
    expires_in: int
    refresh_token: str
    # Stream sequence of the session's last event.
    sequence: int


class Commands:
    """Commands of the session service, and queries that need a confirmed state from the stream."""

    def __init__(
        self,
        log: Log,
        refresh_tokens: RefreshTokens,
        access_tokens: AccessTokens,
        *,
        terms: Terms,
        keeps_addresses: Keeps = "full",
        clock: Callable[[], datetime] = envelope.now,
    ) -> None:
        self._sessions = Repository(
            log, subject=subjects.session, initial=Session(), evolve=domain.evolve, tail_only=True
        )
        self._alerts = Repository(
            log, subject=subjects.alerts, initial=Alerts(), evolve=alerts.evolve_alerts, tail_only=True
        )
        self._log = log
        self._refresh_tokens = refresh_tokens
        self._access_tokens = access_tokens
        self._terms = terms
        self._keeps_addresses = keeps_addresses
        self._clock = clock

    async def create(self, command: domain.CreateSession, provenance: Provenance, session_id: str = "") -> IssuedTokens:
        """Creates a session for a user who has just authenticated; idempotent with a `session_id`.

        Raises:
            Unavailable: a session of that id has already ended, or is another user's.
        """
        session_id = session_id or new_id()
        command = msgspec.structs.replace(command, address=truncate_address(command.address, self._keeps_addresses))
        outcome = await self._sessions.execute(
            session_id,
            lambda session: domain.decide_create(session, command, self._clock(), self._terms),
            msgspec.structs.replace(provenance, actor=command.user_id),
        )
        return self._issue(session_id, outcome.state, outcome.sequence)

    async def refresh(self, refresh_token: str, provenance: Provenance) -> IssuedTokens:
        """Issues the session's next tokens. Concurrent refreshes with one token all get the same refresh token.

        Raises:
            InvalidRefreshToken: the signature is not ours, or its session has ended or expired.
            RefreshTokenReused: it was used before; the session has ended now.
        """
        token = self._refresh_tokens.read(refresh_token)
        began = made_at(token.session_id)
        # A cached state is enough: a session's user never changes.
        known = self._sessions.cached(token.session_id) or await self._sessions.load(token.session_id)
        outcome = await self._sessions.execute(
            token.session_id,
            lambda session: domain.decide_refresh(
                session, token.generation, began=began, now=self._clock(), terms=self._terms
            ),
            msgspec.structs.replace(provenance, actor=known.state.user_id),
        )
        if any(isinstance(event.data, SessionRevoked) for event in outcome.events):
            raise RefreshTokenReused
        return self._issue(token.session_id, outcome.state, outcome.sequence)

    async def revoke(
        self, user_id: str, session_id: str, reason: str, provenance: Provenance, note: str | None = None
    ) -> int:
        """Ends one session. Returns the sequence of its end. Repeatable by the same request, if an answer was lost.

        Raises:
            SessionNotFound: there is none, it is another user's, or it has already ended.
        """
        try:
            outcome = await self._sessions.execute(
                session_id,
                lambda session: domain.decide_revoke(session, user_id, reason, self._clock(), note),
                provenance,
            )
        except SessionNotFound:
            if (end := await self._end_by(user_id, session_id, provenance)) is None:
                raise
            return end
        return outcome.sequence

    async def _end_by(self, user_id: str, session_id: str, provenance: Provenance) -> int | None:
        """The sequence of the end of the user's session, if the same request has ended it; else None."""
        owner = (await self._sessions.load(session_id)).state.user_id
        last = await self._log.last_stored(subjects.session(session_id))
        if last is None or owner != user_id or provenance.correlation_id is None:
            return None
        end = last.envelope()
        is_same = (end.actor, end.correlation_id) == (provenance.actor, provenance.correlation_id)
        return last.sequence if end.type == SessionRevoked.TYPE and is_same else None

    async def revoke_all(
        self,
        user_id: str,
        session_ids: Sequence[str],
        reason: str,
        provenance: Provenance,
        note: str | None = None,
    ) -> dict[str, int]:
        """Ends those of the sessions that have not ended yet. Returns the sequence of each end by session id."""
        turns = asyncio.Semaphore(_AT_ONCE)

        async def end(session_id: str) -> int | None:
            async with turns:
                try:
                    return await self.revoke(user_id, session_id, reason, provenance, note)
                except SessionNotFound:
                    return None  # already ended by a concurrent call

        endings = await asyncio.gather(*(end(session_id) for session_id in session_ids), return_exceptions=True)
        for ending in endings:
            if isinstance(ending, BaseException):
                raise ending
        return {
            session_id: ending
            for session_id, ending in zip(session_ids, endings, strict=True)
            if isinstance(ending, int)
        }

    async def record_alert(self, command: RecordAlert, provenance: Provenance) -> timedelta | None:
        """Records that the owner of an account is notified of an event, once for each event.

        Returns how long the event has to wait until alerts of its kind have room again: zero if it has its alert, or a
        later one covers it. None if it is too old for one.
        """
        if not alerts.is_due(command, self._clock()):
            return None
        outcome = await self._alerts.execute(
            command.user_id, lambda state: alerts.decide_alert(state, command, self._clock()), provenance
        )
        return alerts.wait_for_room(outcome.state, command, self._clock())

    async def owner_of_active(self, session_id: str) -> str | None:
        """Returns the session's user, read from the stream; None once it has ended or expired."""
        state = (await self._sessions.load(session_id)).state
        return state.user_id if state.active(self._clock()) else None

    def _issue(self, session_id: str, session: Session, sequence: int) -> IssuedTokens:
        assert session.user_id is not None
        assert session.expires_at is not None
        access_token, expires_in = self._access_tokens.sign(
            session.user_id,
            session_id,
            now=self._clock(),
            session_ends=session.expires_at,
            second_factor=session.second_factor,
        )
        return IssuedTokens(
            user_id=session.user_id,
            session_id=session_id,
            access_token=access_token,
            expires_in=expires_in,
            refresh_token=self._refresh_tokens.sign(RefreshToken(session_id=session_id, generation=session.generation)),
            sequence=sequence,
        )
