"""Mailbox budgets: hourly limits per kind of mail, since third parties can trigger mails. Without I/O.

A mail beyond the budget is dropped. A security notice and an alert have budgets of their own and are deferred instead:
the next one covers everything that has happened until then.
"""

from datetime import datetime, timedelta

import msgspec

from contracts.events.event import Event
from contracts.events.user import MailSent
from contracts.notification_kinds import ALERT_KINDS, ALERTS_AN_HOUR, EMAIL_CHANGED

VERIFICATION_MAIL, ANOTHER_VERIFICATION_MAIL = "verification", "verification_again"
RESET_MAIL = "password_reset"
# After the undo of a change of the address: requests for resets by others do not use up its budget.
RESET_AFTER_UNDO_MAIL = "password_reset_after_undo"
# To the new address; to the current one at the request; to the earlier one after the change; to one that lost it.
EMAIL_CHANGE_MAIL, EMAIL_CHANGE_REQUESTED_MAIL = "email_change", "email_change_requested"
EMAIL_CHANGED_MAIL, EMAIL_CHANGE_UNDONE_MAIL = "email_changed", "email_change_undone"
ADDRESS_TAKEN_NOTICE = "address_taken"
DATA_EXPORT_MAIL = "data_export_ready"
# By kind of alert (contracts/notification_kinds.py).
# None of a change of the address, which has mails of its own, to both addresses.
ALERT_MAILS = {kind: f"alert_{kind}" for kind in ALERT_KINDS if kind != EMAIL_CHANGED}
# Sent in a later hour if the budget is used up: the owner of an account needs them to win it back.
NEVER_DROPPED = frozenset({EMAIL_CHANGED_MAIL, EMAIL_CHANGE_UNDONE_MAIL, RESET_AFTER_UNDO_MAIL})

WINDOW = timedelta(hours=1)
# Mails per window, of the kinds that have a budget of their own.
BUDGETS = {ADDRESS_TAKEN_NOTICE: 1} | dict.fromkeys(ALERT_MAILS.values(), ALERTS_AN_HOUR)
# How long an event may still request its mail: the longest lifetime of a registration (infra/settings/declared.py).
_KEPT = timedelta(days=30)


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    kind: str
    # Id of the event that requested the mail.
    requested_by: str
    # Claim key of the address that a notice is about, or the user that an alert is about.
    about: str
    at: datetime


class Mailbox(msgspec.Struct, frozen=True, kw_only=True):
    """The mails sent to a mailbox in the last 30 days, oldest first."""

    sent: tuple[Sent, ...] = ()

    def has(self, requested_by: str) -> bool:
        return any(mail.requested_by == requested_by for mail in self.sent)

    def notified_since(self, moment: datetime, kind: str, about: str) -> bool:
        """Whether a notice or alert about the same was sent at or after the moment, and so covers it."""
        return any(mail.kind == kind and mail.about == about and mail.at >= moment for mail in self.sent)

    def room_from(self, kind: str, now: datetime, mails_a_window: int) -> datetime:
        """The time from which a mail of the kind has room."""
        budget = BUDGETS.get(kind, mails_a_window)
        recent = [mail.at for mail in self.sent if mail.kind == kind and now - mail.at < WINDOW]
        return recent[-budget] + WINDOW if len(recent) >= budget else now

    def has_room(self, kind: str, now: datetime, mails_a_window: int) -> bool:
        budget = BUDGETS.get(kind, mails_a_window)
        return sum(mail.kind == kind and now - mail.at < WINDOW for mail in self.sent) < budget


def evolve_mailbox(state: Mailbox, event: Event, at: datetime) -> Mailbox:
    if not isinstance(event, MailSent):
        return state
    added = Sent(kind=event.kind, requested_by=event.requested_by, about=event.about, at=at)
    # Oldest first, so the scan stops at the first one kept; a scan of all 30 days per mail would be quadratic.
    first = next((index for index, mail in enumerate(state.sent) if at - mail.at < _KEPT), len(state.sent))
    return Mailbox(sent=(*state.sent[first:], added))


def decide_record(state: Mailbox, kind: str, requested_by: str, about: str = "") -> tuple[MailSent, ...]:
    return () if state.has(requested_by) else (MailSent(kind=kind, requested_by=requested_by, about=about),)
