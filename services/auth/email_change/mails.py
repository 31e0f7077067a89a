"""Mails about the change of an account's address: to the new one, to the current one, and to those that it leaves."""

from collections.abc import Callable
from datetime import datetime
from uuid import UUID, uuid5

from contracts import envelope
from contracts.envelope import Recorded
from contracts.events.event import Event
from contracts.events.user import EmailChangeRequested, EmailReleased, EmailReplaced
from contracts.notification_kinds import ALERT_MAX_AGE
from services.auth.email_change.decisions import change_of, is_present
from services.auth.mail import mailbox_budgets
from services.auth.mail.offers import confirmation, page_link
from services.auth.mail.templates import Mail, Offer
from services.auth.registration.decisions import as_of
from services.auth.repositories import Aggregates
from services.auth.tokens.email_change_undo import EmailChangeUndo, EmailChangeUndoTokens
from services.auth.tokens.email_verification import VerificationTokens
from services.auth.tokens.not_me import NotMe, NotMeTokens


class EmailChangeMails:
    def __init__(
        self,
        aggregates: Aggregates,
        tokens: VerificationTokens,
        undos: EmailChangeUndoTokens,
        reports: NotMeTokens,
        *,
        page: str,
        clock: Callable[[], datetime] = envelope.now,
    ) -> None:
        """`page`: URL of the messenger's page, for the links in mails."""
        self._aggregates = aggregates
        self._tokens = tokens
        self._undos = undos
        self._reports = reports
        self._page = page.rstrip("/")
        self._clock = clock

    async def about(self, event: Recorded[Event]) -> list[Mail]:
        """Returns the mails that an event on an address's subject requests; none if they are no longer useful."""
        match event.data:
            case EmailChangeRequested():
                return await self._requested(event, event.data.user_id)
            case EmailReplaced():
                return await self._changed(event, event.data)
            case EmailReleased():
                return self._undone(event, event.data)
            case _:
                return []

    async def _requested(self, event: Recorded[Event], user_id: str) -> list[Mail]:
        """Returns a mail with the token to the new address and one about the request to the account's current one.

        None to a new address that is another account's, and none at all if it is the account's own already.
        """
        now, address = self._clock(), (await self._aggregates.addresses.load(event.aggregate_id)).state
        change = change_of(address, user_id, now)
        if change is None or change.replaces is None:
            return []
        mails = []
        email = change.email
        # Empty: it was erased.
        if email and as_of(address, now).owner in (None, user_id):
            mails.append(
                Mail(
                    event_id=event.id,
                    asked_at=event.at,
                    recipient=email,
                    username=change.username,
                    kind=mailbox_budgets.EMAIL_CHANGE_MAIL,
                    user_ids=(user_id,),
                    language=change.language,
                    offers=(confirmation(self._tokens, event.aggregate_id, change, event.at, self._page),),
                )
            )
        present = (await self._aggregates.addresses.load(change.replaces)).state
        recipient = present.email
        if recipient is not None and is_present(present, user_id):
            report = NotMe(
                user_id=user_id,
                credential=change.credential,
                event_id=event.id,
                event_at=event.at,
                claim_key=change.replaces,
            )
            mails.append(
                Mail(
                    event_id=str(uuid5(UUID(event.id), mailbox_budgets.EMAIL_CHANGE_REQUESTED_MAIL)),
                    asked_at=event.at,
                    recipient=recipient,
                    username=present.username,
                    kind=mailbox_budgets.EMAIL_CHANGE_REQUESTED_MAIL,
                    user_ids=(user_id,),
                    language=present.language,
                    link=page_link(self._page, "not-me", self._reports.sign(report)),
                )
            )
        return mails

    async def _changed(self, event: Recorded[Event], replaced: EmailReplaced) -> list[Mail]:
        """Returns the mail to the earlier address, with the token that undoes the change."""
        until, recipient = replaced.address.owner_until, replaced.address.email
        address = as_of((await self._aggregates.addresses.load(event.aggregate_id)).state, self._clock())
        if until is None or recipient is None or address.owner != replaced.user_id or address.owner_until != until:
            return []
        token = self._undos.sign(EmailChangeUndo(user_id=replaced.user_id, claim_key=event.aggregate_id, until=until))
        offer = Offer(
            username=replaced.address.username,
            token=token,
            link=page_link(self._page, "undo-email-change", token),
            good_for=until - event.at,
        )
        mail = Mail(
            event_id=event.id,
            asked_at=event.at,
            recipient=recipient,
            username=replaced.address.username,
            kind=mailbox_budgets.EMAIL_CHANGED_MAIL,
            user_ids=(replaced.user_id,),
            language=replaced.address.language,
            offers=(offer,),
        )
        return [mail]

    def _undone(self, event: Recorded[Event], released: EmailReleased) -> list[Mail]:
        """Returns the notice to an address that is no longer the account's; none if that was long ago.

        A mailbox's record of mails does not reach back forever, so after an import an old one would be sent again.
        """
        recipient = released.email
        if recipient is None or self._clock() - event.at > ALERT_MAX_AGE:
            return []
        mail = Mail(
            event_id=event.id,
            asked_at=event.at,
            recipient=recipient,
            username=released.username,
            kind=mailbox_budgets.EMAIL_CHANGE_UNDONE_MAIL,
            user_ids=(released.user_id,),
            language=released.language,
            link=f"{self._page}/",
        )
        return [mail]
