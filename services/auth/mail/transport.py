"""Mail transports: an SMTP server, or `.eml` files in a folder if no server is configured."""

import asyncio
import logging
import os
import re
import time
from contextlib import suppress
from datetime import UTC
from email.headerregistry import Address
from email.message import EmailMessage
from email.parser import BytesHeaderParser
from email.policy import SMTP, compat32, default
from ipaddress import ip_address
from pathlib import Path
from typing import Protocol
from urllib.parse import parse_qs, unquote, urlsplit

import aiosmtplib
import msgspec

from contracts.envelope import now
from contracts.errors import Unavailable
from infra import durable_files, url_files
from infra.operator_errors import OperatorError
from infra.settings import BadSetting
from services.auth.mail.templates import Mail, render
from streams.reactions.retries import RetryLater

_LOG = logging.getLogger(__name__)

_SMTP_TIMEOUT = 20.0
# No mail takes longer to be written to the folder.
_DRAFT_SECONDS = 3_600.0
# Releases until 0.3 wrote mails that name no user, which an erasure cannot find. No token in them is valid for so long.
_NAMELESS_SECONDS = 30 * 86_400.0
# Seconds between two searches for them.
_EVERY = 86_400.0
# Header of a mail in the folder: the users whose personal data it has.
_USERS = "Vestnik-Users"
_ADDRESS = re.compile(r"[^\s<>]+@[^\s<>]+")
# Values of `?tls=`, mapped to aiosmtplib's `start_tls`.
_STARTTLS = {"required": True, "opportunistic": None, "off": False}
_FORM = "VESTNIK_SMTP_URL must be smtp://host:port[?tls=required|opportunistic|off] or smtps://host:port"


class DeliveryFailed(RetryLater):
    """The mail could not be handed over; it may be tried again."""


class MailTransport(Protocol):
    async def send(self, mail: Mail) -> None:
        """Hands the mail over. On return it is stored durably or accepted, or was permanently rejected and dropped.

        Raises:
            DeliveryFailed: it could not be handed over now.
            ValueError: the recipient is not a valid address.
        """
        ...


def outbox(smtp_url: str, sender: str, folder: Path) -> MailTransport:
    """Creates the configured transport: SMTP if there is a URL, else the folder.

    Raises:
        BadSetting: the URL is not that of a mail server.
    """
    return SmtpTransport(smtp_url, sender) if smtp_url else FolderTransport(folder, sender)


class SmtpServer(msgspec.Struct, frozen=True, kw_only=True):
    """A mail server, from `smtp://user:password@host:port?tls=required|opportunistic|off` or `smtps://…`.

    By default TLS is required with a login or for a host other than this machine, and otherwise used if offered.
    Certificates are always verified.
    """

    host: str
    port: int
    # TLS from the first byte.
    tls: bool
    # True: required, nothing is sent without it. None: used if the server offers it. False: off.
    starttls: bool | None
    username: str | None
    password: str | None

    @classmethod
    def of(cls, url: str) -> "SmtpServer":
        """Parses the URL.

        Raises:
            BadSetting: it is not valid; the message does not show the password.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
            query = parse_qs(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
        except ValueError as error:
            raise BadSetting("VESTNIK_SMTP_URL is not a URL") from error
        tls, host = parts.scheme == "smtps", parts.hostname
        # A misspelt parameter must not silently select the default.
        if parts.scheme not in ("smtp", "smtps") or not host or set(query) - (set() if tls else {"tls"}):
            raise BadSetting(_FORM)
        needed = "required" if parts.username or not _is_this_machine(host) else "opportunistic"
        tls_mode = query.get("tls", [needed])[-1]
        if tls_mode not in _STARTTLS:
            raise BadSetting(_FORM)
        return cls(
            host=host,
            port=port or (465 if tls else 587 if parts.username else 25),
            tls=tls,
            starttls=False if tls else _STARTTLS[tls_mode],
            username=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password) if parts.password else None,
        )


class SmtpTransport:
    """Sends each mail over a connection of its own, to the server that the URL, or its file, names at that time."""

    def __init__(self, smtp_url: str, sender: str) -> None:
        """
        Raises:
            BadSetting: the URL is not that of a mail server.
            UnreadableUrl: the file that holds the URL cannot be read.
        """
        SmtpServer.of(url_files.read(smtp_url))
        self._smtp_url = smtp_url
        self._sender = sender

    async def send(self, mail: Mail) -> None:
        message = render(mail, self._sender, now())
        sender, recipient = _only(message, "From"), _only(message, "To")
        try:
            server = SmtpServer.of(url_files.read(self._smtp_url))
        except OperatorError as error:
            raise DeliveryFailed(str(error)) from error
        wide = _is_wide(message)
        client = aiosmtplib.SMTP(
            hostname=server.host,
            port=server.port,
            use_tls=server.tls,
            start_tls=server.starttls,
            username=server.username,
            password=server.password,
            timeout=_SMTP_TIMEOUT,
        )
        try:
            async with client:
                try:
                    await client.sendmail(
                        sender.addr_spec,
                        [recipient.addr_spec],
                        # Base64 instead of 8bit, which not every relay accepts.
                        message.as_bytes(policy=SMTP.clone(cte_type="7bit", utf8=wide)),
                        mail_options=["SMTPUTF8"] if wide else [],
                    )
                # Caught only here: while connecting, the same exception means that TLS or login is not supported.
                except (aiosmtplib.SMTPRecipientsRefused, aiosmtplib.SMTPNotSupported) as error:
                    if not _is_final(error):
                        raise
                    _LOG.warning("dropped the mail of event %s: %s", mail.event_id, _reason(error))
        except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
            raise DeliveryFailed(_reason(error)) from error


class FolderTransport:
    """Writes one `.eml` file per mail, named after the time and the id of the event that requested it.

    The same event overwrites the same file, so a crash leaves no duplicate.
    """

    def __init__(self, folder: Path, sender: str) -> None:
        self._folder = folder
        self._sender = sender

    async def send(self, mail: Mail) -> None:
        message = render(mail, self._sender, now())
        if mail.user_ids:
            message[_USERS] = " ".join(mail.user_ids)
        content = message.as_bytes(policy=default.clone(utf8=_is_wide(message)))
        name = f"{mail.asked_at.astimezone(UTC):%Y%m%dT%H%M%S.%f}"[:-3] + f"Z-{mail.event_id}.eml"
        try:
            await asyncio.to_thread(_write, self._folder / name, content)
        except OSError as error:
            raise DeliveryFailed(str(error)) from error

    async def remove_of(self, user_id: str) -> None:
        """Removes the mails that were written for the user. Repeatable.

        Raises:
            Unavailable: the folder cannot be read, or a file cannot be removed.
        """
        try:
            await asyncio.to_thread(_remove_of, self._folder, user_id)
        except OSError as error:
            raise Unavailable(str(error)) from error

    async def remove_nameless(self) -> None:
        """Removes mails older than 30 days that do not say whose data they have, now and once a day until cancelled."""
        while True:
            try:
                await asyncio.to_thread(_remove_nameless, self._folder)
            except OSError as error:
                _LOG.warning("old mails without a user are not removed: %s", error)
            await asyncio.sleep(_EVERY)


def _users_of(path: Path) -> list[str]:
    """The users whose personal data the mail has, as its header says."""
    with path.open("rb") as file:
        # This policy reads any header as it is.
        header = BytesHeaderParser(policy=compat32).parse(file)
    return str(header[_USERS] or "").split()


def _remove_nameless(folder: Path) -> None:
    for path in folder.glob("*.eml"):
        with suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > _NAMELESS_SECONDS and not _users_of(path):
                path.unlink()


def _remove_of(folder: Path, user_id: str) -> None:
    for path in folder.glob("*.eml"):
        with suppress(FileNotFoundError):
            if user_id in _users_of(path):
                path.unlink()
    # What a crash has left while a mail was written; nobody knows for whom.
    for draft in folder.glob(".*.eml.*"):
        with suppress(FileNotFoundError):
            if time.time() - draft.stat().st_mtime > _DRAFT_SECONDS:
                draft.unlink()


def _is_this_machine(host: str) -> bool:
    """Whether the host is a loopback address or `localhost`. Other names are not resolved: DNS may be spoofed."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _only(message: EmailMessage, header: str) -> Address:
    address: Address = message[header].addresses[0]
    return address


def _is_wide(message: EmailMessage) -> bool:
    """Whether the recipient's address is not ASCII, which requires SMTPUTF8."""
    return not _only(message, "To").addr_spec.isascii()


def _is_final(error: aiosmtplib.SMTPRecipientsRefused | aiosmtplib.SMTPNotSupported) -> bool:
    """Whether the server rejects this recipient permanently, so that a retry is useless."""
    if isinstance(error, aiosmtplib.SMTPRecipientsRefused):
        return all(refusal.code >= 500 for refusal in error.recipients)
    return True


def _reason(error: Exception) -> str:
    """Describes the error for a log: the server's response without mailboxes; of a refused recipient the code alone."""
    if isinstance(error, aiosmtplib.SMTPRecipientsRefused):
        return f"recipient refused with {', '.join(str(refusal.code) for refusal in error.recipients)}"
    if isinstance(error, aiosmtplib.SMTPResponseException):
        message = _ADDRESS.sub("(mailbox)", error.message)
        return f"{error.code} {message}"
    return f"{type(error).__name__}: {error}"


def _write(path: Path, content: bytes) -> None:
    """Writes the file atomically and durably. Mode 0600, because a mail contains a token."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Several processes may send the same mail.
    durable_files.replace(path, content, draft=path.with_name(f".{path.name}.{os.getpid()}"))
