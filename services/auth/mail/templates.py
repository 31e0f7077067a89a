"""Renders mails to users: plain text and HTML, in the account's language.

Both parts use 7bit or 8bit transfer encoding, which keeps lines with a link or a token intact; quoted-printable
would break them at 76 characters. For SMTP, 8bit becomes base64 (transport.py).
"""

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr

import msgspec

from contracts.values.field_types import LANGUAGES, LanguageCode
from contracts.values.mail_addresses import ascii_domain
from services.auth.mail import circumstances
from services.auth.mail.bodies import Action, Body, html, plain
from services.auth.mail.circumstances import Circumstances
from services.auth.mail.mail_text import CIRCUMSTANCES, MailText
from services.auth.mail.mailbox_budgets import VERIFICATION_MAIL
from services.auth.mail.texts import SEVERAL_REGISTRATIONS, in_words, language_of, text_of

_HOST_NAME = re.compile(
    r"(?=.{1,253}\Z)[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)+\Z"
)


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """A token in a mail, with the account that it is for."""

    username: str
    token: str
    good_for: timedelta
    # Opens the page that uses the token after confirmation.
    link: str


class Mail(msgspec.Struct, frozen=True, kw_only=True):
    """A mail to send."""

    # Id of the event that requested it, or an id derived from that: the same event gives the same Message-ID.
    event_id: str
    # When it was requested.
    asked_at: datetime
    recipient: str
    username: str
    kind: str = VERIFICATION_MAIL
    # The text (texts.py), where the kind has several; empty: that of the kind.
    text: str = ""
    # As stored with the account.
    language: str = LANGUAGES[0]
    # Empty in a notice; several where several registrations are pending.
    offers: tuple[Offer, ...] = ()
    # Of a notice or an alert: the page that it links to, and the claim key of the address or the user it is about.
    link: str = ""
    about: str = ""
    # Of an alert: when it happened and from where, and for how long what it is about can be prevented.
    circumstances: Circumstances | None = None
    good_for: timedelta | None = None
    # Whose personal data it has: the accounts and registrations that it is about.
    user_ids: tuple[str, ...] = ()


def address_of(email: str) -> Address:
    """Converts an address to the form that mail servers accept, with the domain in IDNA.

    Raises:
        ValueError: no mail could ever be delivered to it.
    """
    local, _, domain = email.rpartition("@")
    host = domain if domain.isascii() else ascii_domain(domain)
    if not local or not _HOST_NAME.match(host):
        raise ValueError("not a host name after the @")
    return Address(username=local, domain=host)


def render(mail: Mail, sender: str, now: datetime) -> EmailMessage:
    """Renders the complete message.

    Raises:
        ValueError: the recipient is not a valid address.
    """
    name, from_address = parseaddr(sender)
    local, _, host = from_address.rpartition("@")
    message = EmailMessage()
    message["From"] = Address(display_name=name, username=local, domain=host)
    message["To"] = address_of(mail.recipient)
    body = _body(mail)
    message["Subject"] = body.subject
    message["Date"] = format_datetime(now)
    message["Message-ID"] = f"<{mail.event_id}@{host or 'localhost'}>"
    message["Auto-Submitted"] = "auto-generated"
    text, document = plain(body), html(body)
    message.set_content(text, charset=_charset(text), cte=_transfer_encoding(text))
    message.add_alternative(document, "html", charset=_charset(document), cte=_transfer_encoding(document))
    # Set last: `add_alternative` moves content headers to the first part.
    message["Content-Language"] = body.language
    return message


def _charset(text: str) -> str:
    return "us-ascii" if text.isascii() else "utf-8"


def _transfer_encoding(text: str) -> str:
    return "7bit" if text.isascii() else "8bit"


def _body(mail: Mail) -> Body:
    language = language_of(mail.language)
    text = text_of(SEVERAL_REGISTRATIONS if len(mail.offers) > 1 else mail.text or mail.kind, language)
    actions = [_action(text, offer, language) for offer in mail.offers]
    if not actions:
        actions = [Action(heading="", link=mail.link, label=text.link, hint="", token="")]
    span = mail.offers[0].good_for if mail.offers else mail.good_for
    good_for = "" if span is None else in_words(span, language)
    return Body(
        language=language,
        subject=text.subject,
        opening=tuple(_opening(text, mail, good_for, language)),
        actions=tuple(actions),
        closing=_filled(text.closing, mail.username, good_for),
    )


def _opening(text: MailText, mail: Mail, good_for: str, language: LanguageCode) -> Iterator[str]:
    for paragraph in text.opening:
        if paragraph != CIRCUMSTANCES:
            yield from _filled((paragraph,), mail.username, good_for)
        elif mail.circumstances is not None:
            yield from circumstances.in_words(mail.circumstances, language)


def _action(text: MailText, offer: Offer, language: LanguageCode) -> Action:
    heading, label = _filled((text.heading, text.link), offer.username, in_words(offer.good_for, language))
    return Action(heading=heading, link=offer.link, label=label, hint=text.hint, token=offer.token)


def _filled(texts: tuple[str, ...], username: str, good_for: str) -> tuple[str, ...]:
    return tuple(text.format(username=username, good_for=good_for) for text in texts)
