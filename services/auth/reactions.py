"""Reactions to auth's own events: send mails and security notices, end what an older password allowed.

Each has a durable consumer of its own. Deduplication and mailbox budgets are in mail/delivery.py.
"""

import logging
from collections.abc import Callable
from datetime import datetime
from uuid import UUID, uuid5

from contracts import envelope
from contracts.durable_consumers import PASSWORD_ENDINGS, SECURITY_NOTICES, VERIFICATION_MAIL
from contracts.envelope import Provenance, Recorded
from contracts.events.event import Event
from contracts.events.user import (
    EmailChangeRequested,
    EmailClaimed,
    EmailRegistrationRequested,
    EmailReleased,
    EmailReplaced,
    EmailVerificationMailRequested,
    EmailVerificationRequested,
    PasswordChanged,
    PasswordResetRequested,
    PasswordVoided,
    PendingRegistration,
)
from services.auth import domain
from services.auth.clients import Sessions
from services.auth.email_change.mails import EmailChangeMails
from services.auth.mail import mailbox_budgets
from services.auth.mail.delivery import Delivery
from services.auth.mail.offers import confirmation, page_link
from services.auth.mail.templates import Mail, Offer
from services.auth.mail.texts import VOID_PASSWORD
from services.auth.passwords.change import SecondFactor, remove_reported
from services.auth.registration import decisions
from services.auth.registration.decisions import as_of
from services.auth.repositories import Aggregates
from services.auth.tokens.email_verification import VerificationTokens
from services.auth.tokens.password_reset import Reset, ResetTokens
from streams.reactions.reaction import Reaction, reacts_to
from streams.reactions.retries import Retries, RetryLater

# A mail server may be away for a week.
MAIL_RETRIES = Retries(tries_in_outage=2_000)


class AccountMails(Reaction):
    """Sends verification and password reset mails, and the mails about a change of the address."""

    durable = VERIFICATION_MAIL
    retries = MAIL_RETRIES

    def __init__(
        self,
        aggregates: Aggregates,
        tokens: VerificationTokens,
        resets: ResetTokens,
        email_changes: EmailChangeMails,
        delivery: Delivery,
        *,
        page: str,
        clock: Callable[[], datetime] = envelope.now,
    ) -> None:
        """`page`: URL of the messenger's page, for the links in mails."""
        self._aggregates = aggregates
        self._tokens = tokens
        self._resets = resets
        self._email_changes = email_changes
        self._delivery = delivery
        self._page = page.rstrip("/")
        self._clock = clock

    @reacts_to(
        EmailRegistrationRequested,
        EmailClaimed,
        EmailVerificationRequested,
        EmailVerificationMailRequested,
        PasswordResetRequested,
        EmailChangeRequested,
        EmailReplaced,
        EmailReleased,
    )
    async def send(self, event: Recorded[Event]) -> None:
        mails = await self._requested_mails(event)
        provenance = Provenance.caused_by(event)
        failure: RetryLater | ValueError | None = None
        for mail in mails:
            try:
                if not await self._delivery.deliver(mail, provenance) and mail.kind in mailbox_budgets.NEVER_DROPPED:
                    wait = await self._delivery.seconds_to_room(mail)
                    raise _BudgetUsedUp("the mailbox has got its mails of this kind for this hour", after=wait)
            except (RetryLater, ValueError) as error:
                # A failing mailbox must not delay the others.
                failure = error
        if failure is not None:
            raise failure

    async def _requested_mails(self, event: Recorded[Event]) -> list[Mail]:
        """Returns the requested mails; none if they are no longer useful."""
        match event.data:
            case EmailRegistrationRequested() | EmailClaimed():
                return await self._verification(event, mailbox_budgets.VERIFICATION_MAIL, event.data.user_id)
            case EmailVerificationRequested():
                return await self._verification(event, mailbox_budgets.ANOTHER_VERIFICATION_MAIL, event.data.user_id)
            case EmailVerificationMailRequested():
                return await self._verification(event, mailbox_budgets.ANOTHER_VERIFICATION_MAIL, None)
            case PasswordResetRequested():
                return await self._reset(event, event.data)
            case _:
                return await self._email_changes.about(event)

    async def _verification(self, event: Recorded[Event], kind: str, user_id: str | None) -> list[Mail]:
        """Returns the mail for a user's registration, or for all pending ones; none once the address has an owner.

        Spellings that share the address's key can be different mailboxes (`strasse`, `straße`). Each gets a separate
        mail, with the tokens of the registrations made with that spelling.
        """
        now, address = self._clock(), (await self._aggregates.addresses.load(event.aggregate_id)).state
        if as_of(address, now).owner is not None:
            return []
        # Newest first.
        by_local_part: dict[bytes, list[tuple[str, PendingRegistration]]] = {}
        for registration in reversed(decisions.registrations(address, now)):
            email = registration.email
            # Empty: it was erased.
            if email and user_id in (None, registration.user_id):
                by_local_part.setdefault(_local_part(email), []).append((email, registration))
        return [
            Mail(
                event_id=event.id if user_id is not None else _mail_id(event.id, local_part),
                asked_at=event.at,
                recipient=pending[0][0],
                username=pending[0][1].username,
                kind=kind,
                user_ids=tuple(registration.user_id for _, registration in pending),
                language=pending[0][1].language,
                offers=tuple(
                    confirmation(self._tokens, event.aggregate_id, registration, event.at, self._page)
                    for _, registration in pending
                ),
            )
            for local_part, pending in by_local_part.items()
        ]

    async def _reset(self, event: Recorded[Event], request: PasswordResetRequested) -> list[Mail]:
        address = (await self._aggregates.addresses.load(event.aggregate_id)).state
        credential = (await self._aggregates.credentials.load(request.user_id)).state
        recipient = address.email
        if recipient is None or not domain.may_request_reset(address, credential, request, self._clock()):
            return []
        token = self._resets.sign(
            Reset(user_id=request.user_id, credential=request.credential, expires_at=request.expires_at)
        )
        offer = Offer(
            username=address.username,
            token=token,
            link=page_link(self._page, "reset", token),
            good_for=request.expires_at - event.at,
        )
        mail = Mail(
            event_id=event.id,
            asked_at=event.at,
            recipient=recipient,
            username=address.username,
            kind=mailbox_budgets.RESET_AFTER_UNDO_MAIL if request.after_undo else mailbox_budgets.RESET_MAIL,
            text=VOID_PASSWORD if request.after_undo or credential.hashed is None else "",
            user_ids=(request.user_id,),
            language=address.language,
            offers=(offer,),
        )
        return [mail]


def _local_part(email: str) -> bytes:
    """Returns the local part with ASCII letters in lower case; equal ones are the same mailbox."""
    return email.rpartition("@")[0].encode().lower()


def _mail_id(event_id: str, local_part: bytes) -> str:
    """Returns the mail's id for one of the spellings that share a key; at most one of them is in ASCII."""
    return event_id if local_part.isascii() else str(uuid5(UUID(event_id), local_part.decode()))


class _BudgetUsedUp(RetryLater):
    """The mailbox's budget for this hour is used up."""

    level = logging.INFO
    is_failure = False


class SecurityNotices(Reaction):
    """Notifies the owner of an address that another account was registered with it, or is to be changed to it.

    Each registration or change is covered by a notice sent after it. When the mailbox's budget is used up, only the
    newest one waits for the next notice, which covers the earlier ones too.
    """

    durable = SECURITY_NOTICES
    retries = MAIL_RETRIES

    def __init__(
        self,
        aggregates: Aggregates,
        delivery: Delivery,
        *,
        page: str,
        clock: Callable[[], datetime] = envelope.now,
    ) -> None:
        """`page`: URL of the messenger's page, for the link in a notice."""
        self._aggregates = aggregates
        self._delivery = delivery
        self._page = page.rstrip("/")
        self._clock = clock

    @reacts_to(EmailRegistrationRequested, EmailChangeRequested)
    async def send(self, event: Recorded[Event]) -> None:
        request = event.data
        if not isinstance(request, EmailRegistrationRequested | EmailChangeRequested):
            return
        now = self._clock()
        address = as_of((await self._aggregates.addresses.load(event.aggregate_id)).state, now)
        recipient = address.email
        pending = [waiting.user_id for waiting in decisions.waiting(address, now)]
        if (
            address.owner is None
            or address.owner == request.user_id
            or recipient is None
            or request.user_id not in pending
        ):
            return
        mailbox = await self._delivery.mailbox(recipient)
        if mailbox.notified_since(event.at, mailbox_budgets.ADDRESS_TAKEN_NOTICE, event.aggregate_id):
            return
        notice = Mail(
            event_id=event.id,
            asked_at=event.at,
            recipient=recipient,
            username=address.username,
            kind=mailbox_budgets.ADDRESS_TAKEN_NOTICE,
            user_ids=(address.owner,),
            language=address.language,
            link=f"{self._page}/",
            about=event.aggregate_id,
        )
        provenance = Provenance.caused_by(event)
        if not await self._delivery.deliver(notice, provenance) and pending[-1] == request.user_id:
            raise _BudgetUsedUp("the mailbox has already got its notice for this hour")


class PasswordEndings(Reaction):
    """Ends what an older password allowed: its sessions, and after a reset the second factor that was reported.

    The command that changes, resets or voids a password does so synchronously. This covers the case that its process or
    the session service was down then.
    """

    durable = PASSWORD_ENDINGS

    def __init__(self, sessions: Sessions, second_factor: SecondFactor) -> None:
        self._sessions = sessions
        self._second_factor = second_factor

    @reacts_to(PasswordChanged, PasswordVoided)
    async def complete(self, event: Recorded[Event]) -> None:
        if not isinstance(event.data, PasswordChanged | PasswordVoided):
            return
        provenance = Provenance.caused_by(event, actor=event.actor)
        await self._sessions.end_older(user_id=event.aggregate_id, event=event.data, provenance=provenance)
        if isinstance(event.data, PasswordChanged):
            await remove_reported(self._second_factor, event.aggregate_id, event.data, event.at, provenance)
