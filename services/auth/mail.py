"""The mails to users: plain text in ASCII, so that no transfer encoding ever breaks or wraps the token."""

import re
from datetime import datetime, timedelta
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr

import msgspec

from contracts.mail_addresses import ascii_domain
from services.auth.domain import RESET_MAIL, VERIFICATION_MAIL

_HOST_NAME = re.compile(
    r"(?=.{1,253}\Z)[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)+\Z"
)

_VERIFICATION = """\
Hello {username},

to confirm that this address is yours, enter this token where you registered:

Token: {token}

It is good for {hours}. If you have not registered, do nothing:
nobody can use this address without the token.
"""


_RESET = """\
Hello {username},

somebody, you we hope, wants to set another password for your account.
To do so, enter this token together with the new password:

Token: {token}

It is good once and for {hours}. All devices have to log in again then.
If it was not you, do nothing: your password stays as it is.
"""

_TEXTS = {
    VERIFICATION_MAIL: ("Confirm your e-mail address", _VERIFICATION),
    RESET_MAIL: ("Set another password", _RESET),
}


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """A mail that is to be sent."""

    # Id of the event that asked for it: the same event, the same Message-ID.
    event_id: str
    # When it was asked for.
    asked_at: datetime
    recipient: str
    username: str
    token: str
    good_for: timedelta
    kind: str = VERIFICATION_MAIL


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
    subject, text = _TEXTS[letter.kind]
    name, from_address = parseaddr(sender)
    local, _, host = from_address.rpartition("@")
    message = EmailMessage()
    message["From"] = Address(display_name=name, username=local, domain=host)
    message["To"] = address_of(letter.recipient)
    message["Subject"] = subject
    message["Date"] = format_datetime(now)
    message["Message-ID"] = f"<{letter.event_id}@{host or 'localhost'}>"
    message["Auto-Submitted"] = "auto-generated"
    body = text.format(username=letter.username, token=letter.token, hours=_in_words(letter.good_for))
    message.set_content(body, charset="us-ascii", cte="7bit")
    return message


def _in_words(span: timedelta) -> str:
    hours = round(span.total_seconds() / 3600)
    if hours >= 1:
        return f"{hours} hours" if hours > 1 else "an hour"
    return "less than an hour"
