"""The mails to users: plain text in ASCII, so that no transfer encoding ever breaks or wraps the token."""

import re
from datetime import datetime, timedelta
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr

import msgspec

from contracts.mail_addresses import ascii_domain
from services.auth.mailboxes import (
    ADDRESS_TAKEN_NOTICE,
    ANOTHER_VERIFICATION_MAIL,
    RESET_MAIL,
    VERIFICATION_MAIL,
)

_HOST_NAME = re.compile(
    r"(?=.{1,253}\Z)[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)+\Z"
)

_VERIFICATION = """\
Hello {username},

an account named {username} was registered with this address. If it is yours,
confirm it with this link:

{link}

or enter this token where you registered:

Token: {token}

It is good for {good_for}. If you have not registered, do not confirm it: whoever
did knows the password. Open the link and choose "This is not me", or do
nothing: nobody can use this address without the token.
"""

_SEVERAL = """\
Hello,

several accounts were registered with this address. The first one that is
confirmed gets it, and the others end. Confirm only the one that is yours: you
need its password for that.
"""

_ONE_OF_SEVERAL = """\

Account {username}, for {good_for}:
{link}
Token: {token}
"""

_RESET = """\
Hello {username},

somebody, you we hope, wants to set another password for your account.
To do so, enter this token together with the new password:

Token: {token}

It is good once and for {good_for}. All devices have to log in again then.
If it was not you, do nothing: your password stays as it is.
"""

_TAKEN = """\
Hello {username},

somebody has registered with this address, which belongs to your account
{username} already. Nothing has changed, and nobody else can use it.

If it was you: log in to the account that you have, or set another password
if you have forgotten it. If it was not you, you need not do anything.

However often this happens, you get at most one such mail an hour.
"""

_SUBJECTS = {
    VERIFICATION_MAIL: "Confirm your e-mail address",
    ANOTHER_VERIFICATION_MAIL: "Confirm your e-mail address",
    RESET_MAIL: "Set another password",
    ADDRESS_TAKEN_NOTICE: "Somebody registered with your address",
}


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """What a token in a mail is for."""

    username: str
    token: str
    good_for: timedelta
    # Opens the page that asks whether to use the token; empty where there is none.
    link: str = ""


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """A mail that is to be sent."""

    # Id of the event that asked for it, or one made from it: the same event, the same Message-ID.
    event_id: str
    # When it was asked for.
    asked_at: datetime
    recipient: str
    username: str
    kind: str = VERIFICATION_MAIL
    # None in a notice; several where several registrations are pending.
    offers: tuple[Offer, ...] = ()
    # Key of the address that a notice is about.
    about: str = ""


def address_of(email: str) -> Address:
    """The address as mail servers take it, its domain in IDNA.

    Raises:
        ValueError: no mail could ever be delivered to it.
    """
    local, _, domain = email.rpartition("@")
    host = domain if domain.isascii() else ascii_domain(domain)
    if not local or not _HOST_NAME.match(host):
        raise ValueError("not a host name after the @")
    return Address(username=local, domain=host)


def compose(letter: Letter, sender: str, now: datetime) -> EmailMessage:
    """The whole mail.

    Raises:
        ValueError: the recipient is no address.
    """
    name, from_address = parseaddr(sender)
    local, _, host = from_address.rpartition("@")
    message = EmailMessage()
    message["From"] = Address(display_name=name, username=local, domain=host)
    message["To"] = address_of(letter.recipient)
    message["Subject"] = _SUBJECTS[letter.kind]
    message["Date"] = format_datetime(now)
    message["Message-ID"] = f"<{letter.event_id}@{host or 'localhost'}>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(_text(letter), charset="us-ascii", cte="7bit")
    return message


def _text(letter: Letter) -> str:
    if letter.kind == ADDRESS_TAKEN_NOTICE:
        return _TAKEN.format(username=letter.username)
    if len(letter.offers) > 1:
        return _SEVERAL + "".join(_filled(_ONE_OF_SEVERAL, offer) for offer in letter.offers)
    return _filled(_RESET if letter.kind == RESET_MAIL else _VERIFICATION, letter.offers[0])


def _filled(text: str, offer: Offer) -> str:
    return text.format(username=offer.username, token=offer.token, link=offer.link, good_for=_in_words(offer.good_for))


def _in_words(span: timedelta) -> str:
    hours = round(span.total_seconds() / 3600)
    if hours >= 1:
        return f"{hours} hours" if hours > 1 else "an hour"
    return "less than an hour"
