"""When and from where something happened, and nothing that the sender of a device's name wants to say."""

import re
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.values.field_types import LANGUAGES, LanguageCode
from services.auth.mail.circumstances import Circumstances, in_words

AT = datetime(2026, 1, 31, 9, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("language", "lines"),
    [
        ("en", ("Device: Firefox on Linux", "Network address: 192.0.2.0/24", "Time: 31 January 2026, 09:05 UTC")),
        ("ru", ("Устройство: Firefox, Linux", "Сетевой адрес: 192.0.2.0/24", "Время: 31 января 2026 г., 09:05 UTC")),
    ],
)
def test_the_device_the_address_and_the_time_are_in_plain_words(language: LanguageCode, lines: tuple[str, ...]) -> None:
    at = AT.astimezone(timezone(timedelta(hours=5)))
    circumstances = Circumstances(at=at, device="Vestnik web, Firefox, Linux", address="192.0.2.0/24")
    assert in_words(circumstances, language) == lines


def test_unknown_circumstances_have_no_line() -> None:
    assert in_words(Circumstances(at=AT), "en") == ("Time: 31 January 2026, 09:05 UTC",)
    assert in_words(Circumstances(at=AT, address="Call me"), "en") == ("Time: 31 January 2026, 09:05 UTC",)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Anna's phone", "Anna s phone"),
        ("https://evil.example/login", "https evil example login"),
        ("call +1 800 555-0199 now", "call now"),
        ("<b>http</b>{username}", "b http b username"),
        ("x" * 100, "x" * 40),
        ("\u202eevil\r\nBcc: a@example.org", "evil Bcc a example org"),
    ],
)
def test_a_device_cannot_write_to_the_owner(name: str, shown: str) -> None:
    assert in_words(Circumstances(at=AT, device=name), "en")[0] == f"Device, by its own name: {shown}"


@given(st.text(max_size=100), st.sampled_from(LANGUAGES))
def test_no_name_has_anything_that_becomes_a_link(name: str, language: LanguageCode) -> None:
    for line in in_words(Circumstances(at=AT, device=name), language)[:-1]:
        assert not re.search(r"[./@<>{}]|[0-9]{5}", line.partition(": ")[2])
