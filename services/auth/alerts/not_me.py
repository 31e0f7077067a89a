"""Command "this was not me": ends all sessions and voids the password, and goes on to a reset.

The token is from the mail of an alert, so its bearer reads the account's mail; that is also all that a reset of the
password needs. Opening the link does nothing: mail scanners open links.
"""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta

import msgspec

from contracts import envelope
from contracts.envelope import Provenance
from contracts.errors import TokenExpired, VestnikError
from contracts.events.user import PasswordVoided
from contracts.positions import Position
from contracts.subjects import AUTH
from services.auth import domain
from services.auth.clients import Sessions
from services.auth.repositories import Aggregates
from services.auth.tokens.not_me import NotMeTokens
from services.auth.tokens.password_reset import Reset, ResetTokens

# From the reported event.
LIFETIME = timedelta(days=7)

log = logging.getLogger(__name__)


class Reported(msgspec.Struct, frozen=True, kw_only=True):
    user_id: str
    # Sets the new password.
    reset_token: str
    # Covers the void password and, if it succeeded, the end of the last session.
    position: Position


class NotMeReports:
    def __init__(
        self,
        aggregates: Aggregates,
        tokens: NotMeTokens,
        resets: ResetTokens,
        sessions: Sessions,
        *,
        lifetime: timedelta,
        clock: Callable[[], datetime] = envelope.now,
    ) -> None:
        """`lifetime`: of the reset token."""
        self._aggregates = aggregates
        self._tokens = tokens
        self._resets = resets
        self._sessions = sessions
        self._lifetime = lifetime
        self._clock = clock

    async def report(self, token: str, provenance: Provenance) -> Reported:
        """Voids the password and ends all sessions. Idempotent until the password is reset.

        Raises:
            InvalidToken: the signature is not ours, or is for another purpose.
            TokenExpired: it has expired, or the password was reset by mail since.
        """
        report = self._tokens.read(token)
        if self._clock() >= report.event_at + LIFETIME:
            raise TokenExpired
        provenance = msgspec.structs.replace(provenance, actor=report.user_id, causation_id=report.event_id)
        outcome = await self._aggregates.credentials.execute(
            report.user_id,
            lambda state: domain.decide_void_password(state, report.credential, report.event_id, report.event_at),
            provenance,
        )
        voided = PasswordVoided(
            generation=outcome.state.generation, reported=report.event_id, reported_at=report.event_at
        )
        position = Position.at(AUTH, outcome.sequence)
        try:
            ended = await self._sessions.end_older(user_id=report.user_id, event=voided, provenance=provenance)
        except VestnikError as error:
            # The password is void regardless; the reaction ends the sessions as soon as it can.
            log.warning("the sessions of a user will be ended later: %s", error)
        else:
            position = position.merge(ended)
        reset = Reset(
            user_id=report.user_id,
            credential=outcome.state.generation,
            expires_at=self._clock() + self._lifetime,
        )
        return Reported(user_id=report.user_id, reset_token=self._resets.sign(reset), position=position)
