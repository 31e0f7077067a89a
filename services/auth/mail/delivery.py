"""Sends mails through the transport: each once, within the mailbox's budgets.

Recording `mail.sent` on the mailbox's subject makes delivery idempotent. A crash between sending and recording causes
at most one duplicate, with the same Message-ID. No mail is lost: it counts as sent only once recorded. An event store
that refuses the record, as without space, is asked again until it accepts it: a new attempt would send the mail again.
"""

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime

from contracts import envelope
from contracts.envelope import Provenance
from contracts.errors import VestnikError
from services.auth.claim_keys import ClaimKeys
from services.auth.mail import mailbox_budgets
from services.auth.mail.mailbox_budgets import Mailbox
from services.auth.mail.templates import Mail
from services.auth.mail.transport import MailTransport
from services.auth.repositories import Aggregates
from streams.log import Conflict
from streams.reactions.retries import may_pass
from streams.repository import AggregateSession

log = logging.getLogger(__name__)
# Seconds between two attempts to record a mail, doubled with each.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 5.0


class Delivery:
    def __init__(
        self,
        aggregates: Aggregates,
        keys: ClaimKeys,
        outbox: MailTransport,
        *,
        mails_an_hour: int,
        clock: Callable[[], datetime] = envelope.now,
    ) -> None:
        """`mails_an_hour`: budget per kind and mailbox."""
        self._aggregates = aggregates
        self._keys = keys
        self._outbox = outbox
        self._mails_an_hour = mails_an_hour
        self._clock = clock

    async def mailbox(self, email: str) -> Mailbox:
        """Loads the recent deliveries of the address's mailbox."""
        return (await self._aggregates.mails.load(self._keys.of_mailbox(email))).state

    async def seconds_to_room(self, mail: Mail) -> float:
        """Returns how long the mail has no room in its mailbox."""
        now = self._clock()
        room = (await self.mailbox(mail.recipient)).room_from(mail.kind, now, self._mails_an_hour)
        return (room - now).total_seconds()

    async def deliver(self, mail: Mail, provenance: Provenance) -> bool:
        """Sends the mail unless it was sent before. Returns False if the budget of its kind is used up.

        Raises:
            DeliveryFailed: it could not be handed over now.
            ValueError: the recipient is not a valid address.
        """
        async with self._aggregates.mails.lock(self._keys.of_mailbox(mail.recipient)) as mailbox:
            await mailbox.confirm()
            if mailbox.state.has(mail.event_id):
                return True
            if not mailbox.state.has_room(mail.kind, self._clock(), self._mails_an_hour):
                log.info("dropped a mail of the kind %s: the mailbox has reached its limit", mail.kind)
                return False
            await self._outbox.send(mail)
            await self._record(mailbox, mail, provenance)
            return True

    async def _record(self, mailbox: AggregateSession[Mailbox], mail: Mail, provenance: Provenance) -> None:
        """Records a mail that was sent, however long the event store refuses that."""
        pause, is_current = _FIRST_PAUSE, True
        while True:
            try:
                if not is_current:
                    await mailbox.refresh()
                    is_current = True
                sent = mailbox_budgets.decide_record(mailbox.state, mail.kind, mail.event_id, mail.about)
                await mailbox.append(sent, provenance)
                return
            except Conflict:
                is_current = False
            except VestnikError as error:
                if not may_pass(error):
                    raise
                log.warning("a mail was sent, and that cannot be recorded yet: %s", error)
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)
