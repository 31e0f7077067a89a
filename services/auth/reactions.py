"""What follows auth's own events: mails, and the end of the sessions that an older password opened.

`mail.sent` on the user's mail subject makes the effect idempotent: a crash between sending and recording costs one
duplicate at most, with the same Message-ID, and no mail is lost, because it counts as done only once recorded.
"""

import logging
from collections.abc import Callable
from datetime import datetime

from nats.aio.client import Client as NATS

from contracts import envelope
from contracts.durables import PASSWORD_ENDINGS, VERIFICATION_MAIL
from contracts.envelope import Provenance, Recorded
from contracts.event import Event
from contracts.events.user import (
    EmailClaimed,
    EmailVerificationRequested,
    PasswordChanged,
    PasswordResetRequested,
)
from services.auth import domain
from services.auth.aggregates import Aggregates
from services.auth.clients import Sessions
from services.auth.mail import Letter
from services.auth.outbox import Outbox
from services.auth.resets import Reset, ResetTokens
from services.auth.verification import Verification, VerificationTokens
from streams.reaction import Reaction

log = logging.getLogger(__name__)

CONSUMER = VERIFICATION_MAIL.name


class AccountMail:
    """Sends the mails that verify an address or reset a password, until it is cancelled."""

    def __init__(
        self,
        nats: NATS,
        aggregates: Aggregates,
        tokens: VerificationTokens,
        resets: ResetTokens,
        outbox: Outbox,
        *,
        ack_wait: float = 30.0,
        first_pause: float = 1.0,
        clock: Callable[[], datetime] = envelope.now,
    ) -> None:
        self._aggregates = aggregates
        self._tokens = tokens
        self._resets = resets
        self._outbox = outbox
        self._clock = clock
        self._reaction = Reaction(
            nats,
            VERIFICATION_MAIL.stream,
            self._send,
            durable=CONSUMER,
            subject_filter=VERIFICATION_MAIL.subject_filter,
            ack_wait=ack_wait,
            first_pause=first_pause,
        )

    async def run(self) -> None:
        await self._reaction.run()

    async def _send(self, event: Recorded[Event]) -> None:
        asked = event.data
        if not isinstance(asked, EmailClaimed | EmailVerificationRequested | PasswordResetRequested):
            return
        letter = await self._letter(event, asked)
        if letter is None or event.id in (await self._aggregates.mails.load(asked.user_id)).state.sent_for:
            return
        await self._outbox.send(letter)
        await self._aggregates.mails.execute(
            asked.user_id,
            lambda mails: domain.decide_record_mail(mails, event.id, letter.kind),
            Provenance(correlation_id=event.correlation_id, causation_id=event.id),
        )
        log.debug("sent the mail %s of user %s", letter.kind, asked.user_id)

    async def _letter(
        self, event: Recorded[Event], asked: EmailClaimed | EmailVerificationRequested | PasswordResetRequested
    ) -> Letter | None:
        """The mail that was asked for; None where it is of no use any more."""
        claim = (await self._aggregates.email_claims.load(event.aggregate_id)).state
        if not claim.email:
            return None
        if isinstance(asked, PasswordResetRequested):
            credential = (await self._aggregates.credentials.load(asked.user_id)).state
            if not domain.reset_is_due(claim, credential, asked, self._clock()):
                return None
            token = self._resets.sign(
                Reset(user_id=asked.user_id, credential=asked.credential, expires_at=asked.expires_at)
            )
            kind = domain.RESET_MAIL
        else:
            if not domain.verification_is_due(claim, asked.user_id, asked.expires_at, self._clock()):
                return None
            token = self._tokens.sign(
                Verification(user_id=asked.user_id, claim_key=event.aggregate_id, expires_at=asked.expires_at)
            )
            kind = domain.VERIFICATION_MAIL
        return Letter(
            event_id=event.id,
            asked_at=event.at,
            recipient=claim.email,
            username=claim.username,
            token=token,
            good_for=asked.expires_at - event.at,
            kind=kind,
        )


class PasswordEndings:
    """Ends the sessions that an older password opened, until it is cancelled.

    Whoever changes a password ends them himself, at once; this is for when his process or session was down then.
    """

    def __init__(self, nats: NATS, sessions: Sessions, *, ack_wait: float = 30.0, first_pause: float = 1.0) -> None:
        self._sessions = sessions
        self._reaction = Reaction(
            nats,
            PASSWORD_ENDINGS.stream,
            self._end,
            durable=PASSWORD_ENDINGS.name,
            subject_filter=PASSWORD_ENDINGS.subject_filter,
            ack_wait=ack_wait,
            first_pause=first_pause,
        )

    async def run(self) -> None:
        await self._reaction.run()

    async def _end(self, event: Recorded[Event]) -> None:
        if isinstance(event.data, PasswordChanged):
            await self._sessions.end_older(
                user_id=event.aggregate_id,
                event=event.data,
                provenance=Provenance(actor=event.actor, correlation_id=event.correlation_id, causation_id=event.id),
            )
