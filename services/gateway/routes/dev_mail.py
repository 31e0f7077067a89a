"""Development route that shows the mails written to a folder when no mail server is configured.

A mail holds the token that verifies an address. The route is therefore on only where `vestnik up` serves this machine
alone and keeps its mails in a folder, and answers only requests from this machine: none with a foreign host name (DNS
rebinding), none through a proxy.
"""

import asyncio
import email
import email.policy
import ipaddress
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from contracts.errors import Invalid, NotFound
from contracts.values.field_types import folded_login
from services.gateway.http.endpoint import AnyEndpoint, DocumentedResponse, Endpoint, NoBody, Request, Response

_LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")
# How many of the newest files are read, and how many mails are shown.
_MOST_FILES, _MOST_MAILS = 200, 10


class MailQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    to: Annotated[str, Meta(max_length=254, description="Only mails to this address.")] = ""


class Mail(msgspec.Struct, frozen=True):
    to: str
    subject: str
    text: str


class Mails(msgspec.Struct, frozen=True):
    items: list[Mail]


async def mails(incoming: Request[MailQuery, NoBody]) -> Response:
    settings = incoming.context.settings
    if settings.show_mail != "on" or not _of_this_machine(incoming):
        raise NotFound
    newest = await asyncio.to_thread(_newest, settings.data_dir / "mail", folded_login(incoming.query.to.strip()))
    return Response(body=Mails(newest))


def _of_this_machine(incoming: Request[MailQuery, NoBody]) -> bool:
    if "x-forwarded-for" in incoming.headers or "forwarded" in incoming.headers:
        return False
    host = incoming.headers.get("host", "").lower()
    name = host[: host.find("]") + 1] if host.startswith("[") else host.partition(":")[0]
    # Without a forwarding header, the client's address is the peer's.
    return name in _LOCAL_NAMES and _is_loopback(incoming.address)


def _is_loopback(address: str) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return (mapped or parsed).is_loopback


def _newest(folder: Path, to: str) -> list[Mail]:
    mails: list[Mail] = []
    for _, file in sorted(_by_age(folder))[:_MOST_FILES]:
        if len(mails) == _MOST_MAILS:
            break
        try:
            content = file.read_bytes()
        except FileNotFoundError:
            continue
        mail = email.message_from_bytes(content, policy=email.policy.default)
        recipient = str(mail["To"] or "")
        if not to or to in _addresses(mail):
            text = mail.get_body(("plain",))
            mails.append(Mail(recipient, str(mail["Subject"] or ""), text.get_content() if text is not None else ""))
    return mails


def _addresses(mail: EmailMessage) -> set[str]:
    header = mail["To"]
    return {folded_login(address.addr_spec) for address in header.addresses} if header is not None else set()


def _by_age(folder: Path) -> Iterator[tuple[float, Path]]:
    for file in folder.glob("*.eml"):
        try:
            yield -file.stat().st_mtime, file
        except FileNotFoundError:
            # It was deleted in the meantime.
            continue


ROUTES: tuple[AnyEndpoint, ...] = (
    Endpoint(
        method="GET",
        path="/dev/mail",
        tag="Development",
        summary="The newest mails",
        description=(
            "Exists only if `vestnik up` serves only this machine and has no mail server, and only for requests "
            "from this machine with a loopback host name, not through a proxy."
        ),
        handler=mails,
        query=MailQuery,
        body=NoBody,
        answers={200: DocumentedResponse(description="The newest first.", body=Mails)},
        errors=(NotFound, Invalid),
        public=True,
    ),
)
