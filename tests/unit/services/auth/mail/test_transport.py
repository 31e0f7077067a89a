"""Mail transports: files, and the meaning of an SMTP URL."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from infra.settings import BadSetting
from services.auth.mail.templates import Mail, Offer
from services.auth.mail.transport import DeliveryFailed, FolderTransport, SmtpServer

TOKEN = "T" * 71
LETTER = Mail(
    event_id="01890a5d-ac96-774b-bcce-b302099a8058",
    asked_at=datetime(2026, 1, 1, 12, 0, 0, 123_000, tzinfo=UTC),
    recipient="anna@example.org",
    username="anna",
    offers=(
        Offer(username="anna", token=TOKEN, good_for=timedelta(hours=24), link=f"https://x.example/#/confirm/{TOKEN}"),
    ),
)


async def test_a_mail_becomes_one_file_named_after_time_and_event(tmp_path: Path) -> None:
    outbox = FolderTransport(tmp_path / "mail", "no-reply@localhost")
    await outbox.send(LETTER)
    (name,) = os.listdir(tmp_path / "mail")
    path = tmp_path / "mail" / name
    assert path.name == f"20260101T120000.123Z-{LETTER.event_id}.eml"
    assert f"Token: {TOKEN}" in path.read_text().splitlines()
    assert path.stat().st_mode & 0o077 == 0


async def test_the_same_mail_again_is_the_same_file(tmp_path: Path) -> None:
    outbox = FolderTransport(tmp_path, "no-reply@localhost")
    await outbox.send(LETTER)
    await outbox.send(LETTER)
    await outbox.send(msgspec.structs.replace(LETTER, event_id="another"))
    assert len(os.listdir(tmp_path)) == 2


async def test_a_folder_that_cannot_be_made_means_another_try(tmp_path: Path) -> None:
    (tmp_path / "mail").write_text("a file where the folder should be")
    with pytest.raises(DeliveryFailed):
        await FolderTransport(tmp_path / "mail", "no-reply@localhost").send(LETTER)
    assert os.listdir(tmp_path) == ["mail"]


def test_an_smtp_url_says_host_port_login_and_tls() -> None:
    server = SmtpServer.of("smtp://us%40er:p%3Aw@mail.example.org:2525?tls=required")
    assert (server.host, server.port, server.tls, server.starttls) == ("mail.example.org", 2525, False, True)
    assert (server.username, server.password) == ("us@er", "p:w")


@pytest.mark.parametrize(
    ("url", "port", "tls", "starttls"),
    [
        ("smtp://localhost", 25, False, None),
        ("smtp://127.0.0.9", 25, False, None),
        ("smtp://[::1]", 25, False, None),
        ("smtp://localhost?tls=off", 25, False, False),
        ("smtp://localhost?tls=required", 25, False, True),
        ("smtp://me:secret@localhost", 587, False, True),
        ("smtp://me:secret@localhost?tls=opportunistic", 587, False, None),
        ("smtp://mail", 25, False, True),
        ("smtp://mail.localhost", 25, False, True),
        ("smtp://localhost.example.org", 25, False, True),
        ("smtp://10.0.0.1", 25, False, True),
        ("smtp://[fe80::1]", 25, False, True),
        ("smtp://mail?tls=opportunistic", 25, False, None),
        ("smtps://localhost", 465, True, False),
        ("smtps://me:secret@mail", 465, True, False),
    ],
)
def test_a_login_or_another_machine_implies_tls(url: str, port: int, tls: bool, starttls: bool | None) -> None:
    server = SmtpServer.of(url)
    assert (server.port, server.tls, server.starttls) == (port, tls, starttls)


@pytest.mark.parametrize(
    "url",
    [
        "http://x",
        "smtp://",
        "smtp://me:secret@x:99999",
        "smtp://me:secret@x?tls=perhaps",
        "smtp://me:secret@x?tls=",
        "smtp://me:secret@x?tsl=required",
        "smtp://me:secret@x?starttls=always",
        "smtp://me:secret@x?required",
        "smtps://me:secret@x?tls=off",
    ],
)
def test_a_wrong_smtp_url_is_refused_without_showing_its_password(url: str) -> None:
    with pytest.raises(BadSetting) as refusal:
        SmtpServer.of(url)
    assert "secret" not in str(refusal.value)
