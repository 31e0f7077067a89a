"""Reaction to events of an account: records an alert and mails its owner, each once.

One durable consumer per stream or kind of aggregate runs it (main.py). An alert that has no room now waits
(mail/mailbox_budgets.py, the alerts of the session service); an event that is older than `ALERT_MAX_AGE` causes none,
so neither an import nor a new consumer sends mails about the past.
"""

import logging
from collections.abc import Callable
from datetime import datetime

from contracts import envelope
from contracts.envelope import Provenance, Recorded
from contracts.events.event import Event
from contracts.notification_kinds import ALERT_MAX_AGE
from contracts.positions import Position
from services.auth.alerts.causes import Cause, cause_of
from services.auth.alerts.not_me import LIFETIME
from services.auth.alerts.recipients import Recipient, Recipients
from services.auth.clients import Alerted, Sessions
from services.auth.mail.circumstances import Circumstances
from services.auth.mail.delivery import Delivery
from services.auth.mail.mailbox_budgets import ALERT_MAILS, WINDOW
from services.auth.mail.offers import page_link
from services.auth.mail.templates import Mail
from services.auth.repositories import Aggregates
from services.auth.tokens.not_me import NotMe, NotMeTokens
from streams.reactions.retries import RetryLater


class _NoRoom(RetryLater):
    """The account's alerts, or the mailbox's, are used up for now."""

    level = logging.INFO
    is_failure = False


class AccountAlerts:
    def __init__(
        self,
        aggregates: Aggregates,
        recipients: Recipients,
        sessions: Sessions,
        tokens: NotMeTokens,
        delivery: Delivery,
        *,
        page: str,
        clock: Callable[[], datetime] = envelope.now,
    ) -> None:
        """`page`: URL of the messenger's page, for the link in a mail."""
        self._aggregates = aggregates
        self._recipients = recipients
        self._sessions = sessions
        self._tokens = tokens
        self._delivery = delivery
        self._page = page.rstrip("/")
        self._clock = clock

    async def alert(self, event: Recorded[Event]) -> None:
        """
        Raises:
            RetryLater: there is no room for it now, or the mail could not be handed over.
            VestnikError: the session service or a read model does not answer.
            ValueError: the recipient is not a valid address.
        """
        cause = cause_of(event)
        if cause is None or self._clock() - event.at > ALERT_MAX_AGE:
            return
        user = (await self._aggregates.users.load(cause.user_id)).state
        if user.is_gone(self._clock()) or cause.until not in (None, user.erase_at):
            # There is no owner any more, or a login has cancelled the erasure.
            return
        position = Position.at(event.stream, event.sequence)
        alerted = await self._sessions.record_alert(
            user_id=cause.user_id,
            kind=cause.kind,
            about=event.id,
            about_at=event.at,
            session_id=cause.session_id,
            position=position,
            provenance=_provenance(event),
        )
        if not alerted.due:
            return
        # The mails do not wait for the list of notifications to have room. Some kinds have mails of their own.
        if cause.kind in ALERT_MAILS:
            await self._mail(event, cause, alerted, position)
        if alerted.wait_seconds:
            raise _NoRoom("the account's alerts of this kind are used up", after=alerted.wait_seconds)

    async def _mail(self, event: Recorded[Event], cause: Cause, alerted: Alerted, position: Position) -> None:
        """Mails every address of the account; one that fails does not delay the others."""
        generation = cause.generation
        if generation is None:
            generation = (await self._aggregates.credentials.load(cause.user_id)).state.generation
        failure: RetryLater | ValueError | None = None
        for recipient in await self._recipients.of(cause.user_id, position):
            mail = self._alert_mail(event, cause, alerted, recipient, generation)
            try:
                await self._deliver(mail, event)
            except (RetryLater, ValueError) as error:
                failure = error
        if failure is not None:
            raise failure

    async def _deliver(self, mail: Mail, event: Recorded[Event]) -> None:
        mailbox = await self._delivery.mailbox(mail.recipient)
        if mailbox.has(event.id):
            return
        covered = mailbox.notified_since(event.at, mail.kind, mail.about)
        # A late event is covered even where there is room, so that one mail is sent after an outage, not many.
        if covered and self._clock() - event.at > WINDOW:
            return
        if not await self._delivery.deliver(mail, _provenance(event)) and not covered:
            wait = await self._delivery.seconds_to_room(mail)
            raise _NoRoom("the mailbox has already got its alerts of this kind", after=wait)

    def _alert_mail(
        self, event: Recorded[Event], cause: Cause, alerted: Alerted, recipient: Recipient, generation: int
    ) -> Mail:
        # An address that the account has left reports no longer than it is the account's.
        happened_at = cause.at or event.at
        reported_at = happened_at if recipient.until is None else min(happened_at, recipient.until - LIFETIME)
        token = self._tokens.sign(
            NotMe(
                user_id=cause.user_id,
                credential=generation,
                event_id=event.id,
                event_at=reported_at,
                claim_key=recipient.claim_key,
            )
        )
        return Mail(
            event_id=event.id,
            asked_at=event.at,
            recipient=recipient.email,
            username=recipient.username,
            kind=ALERT_MAILS[cause.kind],
            user_ids=(cause.user_id,),
            language=recipient.language,
            link=page_link(self._page, "not-me", token),
            about=cause.user_id,
            good_for=None if cause.until is None else cause.until - self._clock(),
            circumstances=Circumstances(at=event.at, device=alerted.device, address=alerted.address),
        )


def _provenance(event: Recorded[Event]) -> Provenance:
    return Provenance.caused_by(event)
