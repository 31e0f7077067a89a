"""How many mails a mailbox gets, without I/O: others can cause mails, so each kind has a budget an hour.

Beyond the budget a mail is dropped. A notice of security has a budget of its own and is put off instead: the next one
covers everything that has happened until then.
"""

from datetime import datetime, timedelta

import msgspec

from contracts.events.event import Event
from contracts.events.user import MailSent

VERIFICATION_MAIL, ANOTHER_VERIFICATION_MAIL = "verification", "verification_again"
RESET_MAIL = "password_reset"
ADDRESS_TAKEN_NOTICE = "address_taken"
NOTICES = frozenset({ADDRESS_TAKEN_NOTICE})

WINDOW = timedelta(hours=1)
NOTICES_A_WINDOW = 1
# As long as an event may still ask for its mail: the longest life of a registration (infra/settings.py).
_KEPT = timedelta(days=30)


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    kind: str
    # Id of the event that asked for the mail.
    requested_by: str
    # Key of the address that a notice is about.
    about: str
    at: datetime


class Mailbox(msgspec.Struct, frozen=True, kw_only=True):
    """What went out to a mailbox in the last 30 days, the oldest first."""

    sent: tuple[Sent, ...] = ()

    def has(self, requested_by: str) -> bool:
        return any(each.requested_by == requested_by for each in self.sent)

    def told_since(self, moment: datetime, kind: str, about: str) -> bool:
        """Whether a notice about the address covers what happened at the moment."""
        return any(each.kind == kind and each.about == about and each.at >= moment for each in self.sent)

    def has_room(self, kind: str, now: datetime, mails_a_window: int) -> bool:
        budget = NOTICES_A_WINDOW if kind in NOTICES else mails_a_window
        return sum(each.kind == kind and now - each.at < WINDOW for each in self.sent) < budget


def evolve_mailbox(state: Mailbox, event: Event, at: datetime) -> Mailbox:
    if not isinstance(event, MailSent):
        return state
    added = Sent(kind=event.kind, requested_by=event.requested_by, about=event.about, at=at)
    # The oldest are first: a look at each of all 30 days, for each mail, would take quadratic time.
    first = next((index for index, each in enumerate(state.sent) if at - each.at < _KEPT), len(state.sent))
    return Mailbox(sent=(*state.sent[first:], added))


def decide_record(state: Mailbox, kind: str, requested_by: str, about: str = "") -> tuple[MailSent, ...]:
    return () if state.has(requested_by) else (MailSent(kind=kind, requested_by=requested_by, about=about),)
