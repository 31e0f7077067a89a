"""The verification mail, which follows a claim on an e-mail address, or its holder asking for another.

A reaction, not a projection: its checkpoint is a durable JetStream consumer that all replicas share, so that a mail
goes out once whatever happens to the read models. `mail.sent` on the user's mail subject makes the effect
idempotent: a crash between sending and recording costs one duplicate at most, with the same Message-ID, and no mail
is ever lost, because a message is acknowledged only after it was recorded.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from datetime import datetime

import msgspec
from nats.aio.client import Client as NATS
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.errors import TimeoutError as NatsTimeout
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from contracts import envelope
from contracts.envelope import Provenance, Recorded
from contracts.errors import VestnikError
from contracts.event import Event
from contracts.events.user import EmailClaimed, EmailVerificationRequested
from contracts.subjects import AUTH
from services.auth import domain
from services.auth.aggregates import Aggregates
from services.auth.mail import Letter
from services.auth.outbox import NotSent, Outbox
from services.auth.verification import Verification, VerificationTokens
from streams.repository import BrokenHistory

log = logging.getLogger(__name__)

CONSUMER = "auth-verification-mail"
_FILTER = "vestnik.auth.email.>"
# Mails on their way at once, in one process.
_AT_ONCE = 4
# Seconds after which a mail whose sender has gone is given to another.
_ACK_WAIT = 30.0
# Mails that wait for their next attempt; when there are so many, the mail server is down for all.
_MOST_PENDING = 1_000
_FETCH_WAIT = 2.0
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 300.0
# For a mail that is on its way when the process stops.
_LAST_WAIT = 5.0
# Between two requests of which the first was turned away at once.
_BREATH = 0.05


class VerificationMail:
    """Sends verification mails until it is cancelled."""

    def __init__(
        self,
        nats: NATS,
        aggregates: Aggregates,
        tokens: VerificationTokens,
        outbox: Outbox,
        *,
        ack_wait: float = _ACK_WAIT,
        first_pause: float = _FIRST_PAUSE,
        clock: Callable[[], datetime] = envelope.now,
    ) -> None:
        self._jetstream = nats.jetstream()
        self._aggregates = aggregates
        self._tokens = tokens
        self._outbox = outbox
        self._ack_wait = ack_wait
        self._first_pause = first_pause
        self._clock = clock

    async def run(self) -> None:
        """Works until it is cancelled; what NATS refuses or loses is tried again."""
        async with asyncio.TaskGroup() as workers:
            for _ in range(_AT_ONCE):
                workers.create_task(self._work())

    async def _work(self) -> None:
        pause = self._first_pause
        while True:
            try:
                async for message in self._messages():
                    await self._handle(message)
                    pause = self._first_pause
            except (NatsError, VestnikError, OSError) as error:
                log.warning("verification mails wait %.0f s: %s", pause, error or type(error).__name__)
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)

    async def _messages(self) -> AsyncIterator[Msg]:
        """What the consumer hands out, one by one: each worker asks for itself and takes no more than it can do."""
        await self._jetstream.add_consumer(
            AUTH,
            ConsumerConfig(
                durable_name=CONSUMER,
                filter_subject=_FILTER,
                deliver_policy=DeliverPolicy.ALL,
                ack_policy=AckPolicy.EXPLICIT,
                ack_wait=self._ack_wait,
                max_deliver=-1,
                max_ack_pending=_MOST_PENDING,
            ),
        )
        subscription = await self._jetstream.pull_subscribe_bind(CONSUMER, AUTH)
        try:
            while True:
                try:
                    fetched = await subscription.fetch(1, timeout=_FETCH_WAIT)
                except NatsTimeout:
                    await asyncio.sleep(_BREATH)
                    continue
                for message in fetched:
                    yield message
        finally:
            await subscription.unsubscribe()

    async def _handle(self, message: Msg) -> None:
        """Settles the message; a mail that is on its way is recorded even when the process is told to stop."""
        work = asyncio.create_task(self._settle(message))
        try:
            await asyncio.shield(work)
        except asyncio.CancelledError:
            _, unfinished = await asyncio.wait({work}, timeout=_LAST_WAIT)
            for task in unfinished:
                task.cancel()
                await asyncio.wait({task})
            raise

    async def _settle(self, message: Msg) -> None:
        sign_of_life = asyncio.create_task(self._keep(message))
        try:
            await self._react(_open(message))
        except (NotSent, VestnikError) as error:
            pause = min(self._first_pause * 2 ** min(message.metadata.num_delivered - 1, 16), _LONGEST_PAUSE)
            log.warning("a verification mail is tried again in %.0f s: %s", pause, error)
            await message.nak(delay=pause)
        except (LookupError, ValueError, msgspec.MsgspecError, BrokenHistory) as error:
            # Not lost: perhaps a later release can read the event; the claim lapses if none does.
            log.error("event %d of %s gets no mail: %s", message.metadata.sequence.stream, AUTH, error)
            await message.nak(delay=_LONGEST_PAUSE)
        else:
            await message.ack()
        finally:
            sign_of_life.cancel()
            await asyncio.wait({sign_of_life})

    async def _keep(self, message: Msg) -> None:
        while True:
            await asyncio.sleep(self._ack_wait / 3)
            await message.in_progress()

    async def _react(self, event: Recorded[Event]) -> None:
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
        log.info("sent the verification mail of user %s", asked.user_id)


def _open(message: Msg) -> Recorded[Event]:
    return envelope.open_event(
        envelope.decode(message.data),
        stream=AUTH,
        sequence=message.metadata.sequence.stream,
        subject=message.subject,
    )
