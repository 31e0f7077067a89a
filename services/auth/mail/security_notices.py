"""Security notices: tell the owner of an address that a registration was made with it.

Each registration is covered by a notice sent after it. When the mailbox's budget is used up, only the newest
registration waits for the next notice, which covers the earlier ones too.
"""

import logging
from collections.abc import Callable
from datetime import datetime

from nats.aio.client import Client as NATS

from contracts import envelope
from contracts.durable_consumers import SECURITY_NOTICES
from contracts.envelope import Provenance, Recorded
from contracts.events.event import Event
from contracts.events.user import EmailRegistrationRequested
from contracts.values.personal_data import plaintext_or_none
from services.auth.mail.delivery import Delivery
from services.auth.mail.mailbox_budgets import ADDRESS_TAKEN_NOTICE
from services.auth.mail.templates import Mail
from services.auth.registration import decisions
from services.auth.repositories import Aggregates
from streams.reaction import EventReactor, RetryLater

# High, because notices that wait for their mailbox's next hour are not a sign of an outage.
_MOST_PENDING = 100_000


class _Waiting(RetryLater):
    """The mailbox's notice budget for this hour is used up."""

    level = logging.INFO


class SecurityNotices:
    """Sends the notices until cancelled, on a separate consumer so that waiting notices do not delay mails."""

    def __init__(
        self,
        nats: NATS,
        aggregates: Aggregates,
        delivery: Delivery,
        *,
        page: str,
        ack_wait: float = 30.0,
        first_pause: float = 1.0,
        clock: Callable[[], datetime] = envelope.now,
    ) -> None:
        """`page`: URL of the messenger's page, for the link in a notice."""
        self._aggregates = aggregates
        self._delivery = delivery
        self._page = page.rstrip("/")
        self._clock = clock
        self._reaction = EventReactor(
            nats,
            SECURITY_NOTICES.stream,
            self._notify,
            durable=SECURITY_NOTICES.name,
            subject_filter=SECURITY_NOTICES.subject_filter,
            ack_wait=ack_wait,
            first_pause=first_pause,
            most_pending=_MOST_PENDING,
        )

    async def run(self) -> None:
        await self._reaction.run()

    async def _notify(self, event: Recorded[Event]) -> None:
        asked = event.data
        if not isinstance(asked, EmailRegistrationRequested):
            return
        address = (await self._aggregates.addresses.load(event.aggregate_id)).state
        recipient = plaintext_or_none(address.email)
        pending = [each.user_id for each in decisions.waiting(address, self._clock())]
        if address.owner is None or recipient is None or asked.user_id not in pending:
            return
        mailbox = await self._delivery.mailbox(recipient)
        if mailbox.told_since(event.at, ADDRESS_TAKEN_NOTICE, event.aggregate_id):
            return
        letter = Mail(
            event_id=event.id,
            asked_at=event.at,
            recipient=recipient,
            username=address.username,
            kind=ADDRESS_TAKEN_NOTICE,
            language=address.language,
            link=f"{self._page}/",
            about=event.aggregate_id,
        )
        provenance = Provenance(correlation_id=event.correlation_id, causation_id=event.id)
        if not await self._delivery.deliver(letter, provenance) and pending[-1] == asked.user_id:
            raise _Waiting("the mailbox has already got its notice for this hour")
