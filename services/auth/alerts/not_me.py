"""Command "this was not me": ends all sessions, voids the password, cancels an erasure, and goes on to a reset.

The token is from the mail of an alert, so its bearer reads the account's mail; that is also all that a reset of the
password needs. If the account has left that mail's address since, the address is restored, as by an undo of the change:
the reader of the new one could reset the password too. Opening the link does nothing: mail scanners open links.
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
from services.auth.conflicts import retry_on_conflict
from services.auth.email_change import decisions
from services.auth.email_change.chain import follow
from services.auth.registration.decisions import as_of
from services.auth.repositories import Aggregates
from services.auth.tokens.not_me import NotMe, NotMeTokens
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
            TokenExpired: it has expired, or the password was reset by mail since, or the address to which it was mailed
                is no longer the account's, or the account is gone.
            Unavailable: there were too many concurrent changes of the account.
        """
        report = self._tokens.read(token)
        if self._clock() >= report.event_at + LIFETIME:
            raise TokenExpired
        provenance = msgspec.structs.replace(provenance, actor=report.user_id, causation_id=report.event_id)
        generation, sequence = await retry_on_conflict(lambda: self._void(report, provenance))
        voided = PasswordVoided(generation=generation, reported=report.event_id, reported_at=report.event_at)
        position = Position.at(AUTH, sequence)
        try:
            ended = await self._sessions.end_older(user_id=report.user_id, event=voided, provenance=provenance)
        except VestnikError as error:
            # The password is void regardless; the reaction ends the sessions as soon as it can.
            log.warning("the sessions of a user will be ended later: %s", error)
        else:
            position = position.merge(ended)
        reset = Reset(
            user_id=report.user_id,
            credential=generation,
            expires_at=self._clock() + self._lifetime,
        )
        return Reported(user_id=report.user_id, reset_token=self._resets.sign(reset), position=position)

    async def _void(self, report: NotMe, provenance: Provenance) -> tuple[int, int]:
        """Voids the password, restores the address if the account has left it, and cancels an erasure of the account.

        Returns:
            The credential's generation, and the stream sequence that covers both.

        Raises:
            TokenExpired, Conflict
        """
        aggregates, user_id, now = self._aggregates, report.user_id, self._clock()
        # Before the address: what frees an address begins a generation, so that the reset token is void then.
        credential = await aggregates.credentials.load(user_id)
        chain = await follow(aggregates, report.claim_key, user_id, now)
        user = await aggregates.users.load(user_id)
        if not chain or user.state.is_gone(now):
            raise TokenExpired
        is_left = not decisions.is_present(as_of(chain[0].loaded.state, now), user_id)
        factor = (await aggregates.second_factors.load(user_id)).state
        voided = domain.decide_void_password(
            credential.state,
            report.credential,
            report.event_id,
            report.event_at,
            lasting=factor.on_since == report.event_at,
            restoring=is_left,
        )
        restored = decisions.decide_restore([link.loaded.state for link in chain], user_id, now) if is_left else ()
        appends = [
            append
            for link, event in zip(chain, restored, strict=False)
            for append in aggregates.addresses.appends(link.key, link.loaded, (event,), provenance)
        ]
        appends += aggregates.credentials.appends(user_id, credential, voided, provenance)
        appends += aggregates.users.appends(user_id, user, domain.decide_cancel_erasure(user.state, now), provenance)
        generation = voided[0].generation if voided else credential.state.generation
        sequence = (await aggregates.log.append_together(appends))[-1] if appends else credential.sequence
        return generation, sequence
