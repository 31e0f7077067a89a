"""When and from where something happened, in the words of a mail.

A device names itself, so someone who has the password could write to the owner of the account with it. A mail has only
a few plain words of the name: no address of a page or a mailbox, no telephone number, nothing that a mail program makes
into a link.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from ipaddress import ip_address, ip_network

import msgspec

from contracts.values.field_types import LanguageCode

_LONGEST_NAME = 40
# As the messenger's page names its device (static/messenger/js/api.js).
_PAGE = re.compile(r"Vestnik web, (Firefox|Edge|Chrome|Safari|Browser)(?:, (Android|iOS|macOS|Windows|Linux))?\Z")
_NOT_PLAIN = re.compile(r"[^\w \-]+|_+")
_LONG_NUMBER = re.compile(r"\d(?:[ \-]?\d){4,}")


class Circumstances(msgspec.Struct, frozen=True, kw_only=True):
    at: datetime
    # As the client named it; empty if unknown.
    device: str = ""
    # The network address, as recorded; empty if unknown.
    address: str = ""


class _Words(msgspec.Struct, frozen=True, kw_only=True):
    months: tuple[str, ...]
    time: str
    browser: str
    browser_on: str
    device: str
    # Of a name that the device chose.
    named_device: str
    address: str
    at: str


_WORDS: Mapping[LanguageCode, _Words] = {
    "en": _Words(
        months=tuple(
            "January February March April May June July August September October November December".split()  # noqa: SIM905
        ),
        time="{day} {month} {year}, {hour:02}:{minute:02} UTC",
        browser="a browser",
        browser_on="{browser} on {system}",
        device="Device: {device}",
        named_device="Device, by its own name: {device}",
        address="Network address: {address}",
        at="Time: {at}",
    ),
    "ru": _Words(
        months=tuple(
            "января февраля марта апреля мая июня июля августа сентября октября ноября декабря".split()  # noqa: SIM905
        ),
        time="{day} {month} {year} г., {hour:02}:{minute:02} UTC",
        browser="браузер",
        browser_on="{browser}, {system}",
        device="Устройство: {device}",
        named_device="Устройство, по его собственному названию: {device}",
        address="Сетевой адрес: {address}",
        at="Время: {at}",
    ),
}


def in_words(circumstances: Circumstances, language: LanguageCode) -> tuple[str, ...]:
    """Returns a line for each circumstance that is known."""
    words = _WORDS[language]
    device, address = _device(circumstances.device, words), _address(circumstances.address)
    return (
        *((device,) if device else ()),
        *((words.address.format(address=address),) if address else ()),
        words.at.format(at=_time(circumstances.at, words)),
    )


def _time(at: datetime, words: _Words) -> str:
    moment = at.astimezone(UTC)
    return words.time.format(
        day=moment.day,
        month=words.months[moment.month - 1],
        year=moment.year,
        hour=moment.hour,
        minute=moment.minute,
    )


def _device(name: str, words: _Words) -> str:
    """Returns the line about the device; empty if it has no name."""
    page = _PAGE.match(name)
    if page is None:
        plain = " ".join(_NOT_PLAIN.sub(" ", _LONG_NUMBER.sub(" ", name)).split())[:_LONGEST_NAME].strip()
        return words.named_device.format(device=plain) if plain else ""
    browser = words.browser if page[1] == "Browser" else page[1]
    return words.device.format(
        device=browser if page[2] is None else words.browser_on.format(browser=browser, system=page[2])
    )


def _address(recorded: str) -> str:
    """Returns the address, or the network that is left of it; empty if it is neither."""
    try:
        return str(ip_network(recorded, strict=False)) if "/" in recorded else str(ip_address(recorded))
    except ValueError:
        return ""
