"""Sends mails through the transport: each once, within the mailbox's budgets.

Recording `mail.sent` on the mailbox's subject makes delivery idempotent. A crash between sending and recording causes
at most one duplicate, with the same Message-ID. No mail is lost: it counts as sent only once recorded.
"""

import logging
from collections.abc import Callable
from datetime import datetime

from contracts import envelope
from contracts.envelope import Provenance
from services.auth.claim_keys import ClaimKeys
from services.auth.mail import mailbox_budgets
from services.auth.mail.mailbox_budgets import Mailbox
from services.auth.mail.templates import Mail
from services.auth.mail.transport import MailTransport
from services.auth.repositories import Aggregates
from streams.log import Conflict

log = logging.getLogger(__name__)


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

    async def seconds_to_room(self, letter: Mail) -> float:
        """Returns how long the mail has no room in its mailbox."""
        now = self._clock()
        room = (await self.mailbox(letter.recipient)).room_from(letter.kind, now, self._mails_an_hour)
        return (room - now).total_seconds()

    async def deliver(self, letter: Mail, provenance: Provenance) -> bool:
        """Sends the mail unless it was sent before. Returns False if the budget of its kind is used up.

        Raises:
            DeliveryFailed: it could not be handed over now.
            ValueError: the recipient is not a valid address.
        """
        async with self._aggregates.mails.lock(self._keys.of_mailbox(letter.recipient)) as mailbox:
            await mailbox.confirm()
            if mailbox.state.has(letter.event_id):
                return True
            if not mailbox.state.has_room(letter.kind, self._clock(), self._mails_an_hour):
                log.info("dropped a mail of the kind %s: the mailbox has reached its limit", letter.kind)
                return False
            await self._outbox.send(letter)
            while True:
                sent = mailbox_budgets.decide_record(mailbox.state, letter.kind, letter.event_id, letter.about)
                try:
                    await mailbox.append(sent, provenance)
                except Conflict:
                    await mailbox.refresh()
                else:
                    return True
