"""The mails shown on a developer's machine: only to that machine, on no indirect route."""

import os
from collections.abc import AsyncIterator
from email.message import EmailMessage
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from nats.aio.client import Client as NATS

from tests.integration.gateway.conftest import Harness, running_gateway


@pytest_asyncio.fixture
async def developing(tmp_path: Path, streams: NATS) -> AsyncIterator[Harness]:
    async with running_gateway(tmp_path, streams, show_mail="on") as harness:
        for number in range(12):
            put(harness, number, f"Anna{number % 2}@Example.org")
        yield harness


def put(harness: Harness, number: int, recipient: str) -> Path:
    mail = EmailMessage()
    mail["To"], mail["Subject"] = recipient, str(number)
    mail.set_content("Hello")
    folder = harness.settings.data_dir / "mail"
    folder.mkdir(exist_ok=True)
    file = folder / f"{number}.eml"
    file.write_bytes(bytes(mail))
    os.utime(file, (number, number))
    return file


def subjects(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [mail["subject"] for mail in answer.json()["items"]]


async def test_the_newest_ten_are_shown_or_those_to_one_whole_address(developing: Harness) -> None:
    assert subjects(await developing.client.get("/dev/mail")) == [str(number) for number in range(11, 1, -1)]
    to_one = await developing.client.get("/dev/mail", params={"to": "anna1@EXAMPLE.org"})
    assert subjects(to_one) == ["11", "9", "7", "5", "3", "1"]
    for part in ("anna", "1@example.org", "example.org", "nna1@example.org"):
        assert subjects(await developing.client.get("/dev/mail", params={"to": part})) == []


async def test_of_a_mail_in_two_forms_the_plain_text_is_shown(developing: Harness) -> None:
    mail = EmailMessage()
    mail["To"], mail["Subject"] = "anna@example.org", "Подтвердите"
    mail.set_content("Token: t\nПривет\n", charset="utf-8", cte="8bit")
    mail.add_alternative("<p>Привет</p>", subtype="html")
    (developing.settings.data_dir / "mail" / "two.eml").write_bytes(bytes(mail))
    answer = await developing.client.get("/dev/mail", params={"to": "anna@example.org"})
    assert answer.json() == {
        "items": [{"to": "anna@example.org", "subject": "Подтвердите", "text": "Token: t\nПривет\n"}]
    }


async def test_a_mail_that_vanishes_meanwhile_is_left_out(developing: Harness) -> None:
    (developing.settings.data_dir / "mail" / "gone.eml").symlink_to("nowhere.eml")
    assert len(subjects(await developing.client.get("/dev/mail"))) == 10


@pytest.mark.parametrize(
    "headers",
    [
        # A page of elsewhere whose name was made to lead here.
        {"host": "evil.example.org"},
        {"host": "localhost.evil.example.org:8080"},
        {"host": "127.0.0.1.evil.example.org"},
        {"x-forwarded-for": "203.0.113.9"},
        {"x-forwarded-for": "127.0.0.1"},
        {"forwarded": "for=203.0.113.9"},
    ],
)
async def test_mails_are_shown_to_this_machine_alone(headers: dict[str, str], developing: Harness) -> None:
    answer = await developing.client.get("/dev/mail", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    for host in ("localhost", "LOCALHOST:8080", "127.0.0.1:80", "[::1]:8080"):
        assert (await developing.client.get("/dev/mail", headers={"host": host})).status_code == 200
