"""The verification mail, which follows a claim on an e-mail address, or its holder asking for another.

`mail.sent` on the user's mail subject makes the effect idempotent: a crash between sending and recording costs one
duplicate at most, with the same Message-ID, and no mail is lost, because it counts as done only once recorded.
"""

import logging
from collections.abc import Callable
from datetime import datetime

from nats.aio.client import Client as NATS

from contracts import envelope
from contracts.durables import VERIFICATION_MAIL
from contracts.envelope import Provenance, Recorded
from contracts.event import Event
from contracts.events.user import EmailClaimed, EmailVerificationRequested
from services.auth import domain
from services.auth.aggregates import Aggregates
from services.auth.mail import Letter
from services.auth.outbox import Outbox
from services.auth.verification import Verification, VerificationTokens
from streams.reaction import Reaction

log = logging.getLogger(__name__)

CONSUMER = VERIFICATION_MAIL.name


class VerificationMail:
    """Sends verification mails until it is cancelled."""

    def __init__(
        self,
        nats: NATS,
        aggregates: Aggregates,
        tokens: VerificationTokens,
        outbox: Outbox,
        *,
        ack_wait: float = 30.0,
        first_pause: float = 1.0,
        clock: Callable[[], datetime] = envelope.now,
    ) -> None:
        self._aggregates = aggregates
        self._tokens = tokens
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
        if not isinstance(asked, EmailClaimed | EmailVerificationRequested):
            return
        claim = (await self._aggregates.email_claims.load(event.aggregate_id)).state
        if not domain.verification_is_due(claim, asked.user_id, asked.expires_at, self._clock()) or not claim.email:
            return
        if event.id in (await self._aggregates.mails.load(asked.user_id)).state.sent_for:
            return
        verification = Verification(user_id=asked.user_id, claim_key=event.aggregate_id, expires_at=asked.expires_at)
        await self._outbox.send(
            Letter(
                event_id=event.id,
                asked_at=event.at,
                recipient=claim.email,
                username=claim.username,
                token=self._tokens.sign(verification),
                good_for=asked.expires_at - event.at,
            )
        )
        await self._aggregates.mails.execute(
            asked.user_id,
            lambda mails: domain.decide_record_mail(mails, event.id),
            Provenance(correlation_id=event.correlation_id, causation_id=event.id),
        )
        log.debug("sent the verification mail of user %s", asked.user_id)
