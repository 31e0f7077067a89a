"""Mails over SMTP: plain, with STARTTLS, with TLS from the start, with a login, and with a refusing server."""

import ipaddress
import ssl
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.policy import default
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from infra import url_files
from services.auth.mail.templates import Mail, Offer
from services.auth.mail.transport import DeliveryFailed, outbox
from tests.integration.auth.smtp_server import SmtpServer

TOKEN = "T" * 71
MAIL = Mail(
    event_id="01890a5d-ac96-774b-bcce-b302099a8058",
    asked_at=datetime(2026, 1, 1, tzinfo=UTC),
    recipient="Anna@example.org",
    username="anna",
    offers=(
        Offer(username="anna", token=TOKEN, good_for=timedelta(hours=24), link=f"https://x.example/#/confirm/{TOKEN}"),
    ),
)
# Its recipient is in no plain ASCII.
WIDE = msgspec.structs.replace(MAIL, recipient="straße@example.org")


@pytest.fixture
def tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """A server's certificate that this process trusts."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a mail server")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = tmp_path / "certificate.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    pem.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


async def send(url: str, mail: Mail = MAIL) -> None:
    await outbox(url, "Vestnik <no-reply@example.org>", Path("unused")).send(mail)


async def test_a_mail_arrives_with_its_token_on_a_line() -> None:
    server = SmtpServer()
    async with server.listening():
        await send(f"smtp://127.0.0.1:{server.port}")
    assert f"Token: {TOKEN}".encode() in server.mails[0].splitlines()
    sender, recipient = server.envelopes[0]
    assert "<no-reply@example.org>" in sender
    assert "<Anna@example.org>" in recipient


async def test_a_mail_in_russian_arrives_in_ascii_and_reads_with_its_token_on_a_line() -> None:
    server = SmtpServer()
    async with server.listening():
        await send(f"smtp://127.0.0.1:{server.port}", msgspec.structs.replace(MAIL, language="ru"))
    assert server.mails[0].isascii()
    message: Any = message_from_bytes(server.mails[0], policy=default)
    text, html = (part.get_content() for part in message.iter_parts())
    assert f"Token: {TOKEN}" in text.splitlines()
    assert "Здравствуйте, anna!" in text
    assert "Подтвердить адрес</a>" in html


async def test_a_login_comes_after_the_encryption(tls: ssl.SSLContext) -> None:
    server = SmtpServer(context=tls, login=("us@er", "p:ss/word"))
    async with server.listening():
        await send(f"smtp://us%40er:p%3Ass%2Fword@127.0.0.1:{server.port}")
    assert server.encrypted == [True]


async def test_a_password_changed_in_the_file_of_the_url_is_used_for_the_next_mail(
    tls: ssl.SSLContext, tmp_path: Path
) -> None:
    file = tmp_path / "smtp-url"
    servers = [SmtpServer(context=tls, login=("us", password)) for password in ("old", "new")]
    async with servers[0].listening(), servers[1].listening():
        file.write_text(f"smtp://us:old@127.0.0.1:{servers[0].port}\n")
        transport = outbox(url_files.reference(str(file)), "Vestnik <no-reply@example.org>", Path("unused"))
        await transport.send(MAIL)
        file.unlink()
        with pytest.raises(DeliveryFailed, match="smtp-url cannot be read"):
            await transport.send(MAIL)
        file.write_text(f"smtp://us:new@127.0.0.1:{servers[1].port}\n")
        await transport.send(MAIL)
    assert [len(server.mails) for server in servers] == [1, 1]


async def test_smtps_is_encrypted_from_the_start(tls: ssl.SSLContext) -> None:
    server = SmtpServer(context=tls)
    async with server.listening(tls=True):
        await send(f"smtps://127.0.0.1:{server.port}")
    assert server.encrypted == [True]


async def test_on_this_machine_encryption_is_used_where_it_is_offered(tls: ssl.SSLContext) -> None:
    server = SmtpServer(context=tls)
    async with server.listening():
        await send(f"smtp://127.0.0.1:{server.port}")
        await send(f"smtp://127.0.0.1:{server.port}?tls=off")
    assert server.encrypted == [True, False]


async def test_a_server_that_hides_starttls_gets_neither_password_nor_mail(tls: ssl.SSLContext) -> None:
    server = SmtpServer(context=tls, hides_starttls=True, login=("anna", "right"))
    async with server.listening():
        with pytest.raises(DeliveryFailed, match="STARTTLS"):
            await send(f"smtp://anna:right@127.0.0.1:{server.port}")
        with pytest.raises(DeliveryFailed, match="STARTTLS"):
            await send(f"smtp://127.0.0.1:{server.port}?tls=required")
    assert server.mails == []
    assert {verb.split()[0] for verb in server.heard} <= {"EHLO", "HELO", "QUIT"}


async def test_a_server_that_refuses_starttls_gets_neither_password_nor_mail() -> None:
    server = SmtpServer(refuses_starttls=True, login=("anna", "right"))
    async with server.listening():
        with pytest.raises(DeliveryFailed, match="454"):
            await send(f"smtp://anna:right@127.0.0.1:{server.port}")
    assert server.mails == []
    assert {verb.split()[0] for verb in server.heard} <= {"EHLO", "HELO", "STARTTLS", "QUIT"}


async def test_opportunistic_encryption_goes_on_without_it(tls: ssl.SSLContext) -> None:
    server = SmtpServer(context=tls, hides_starttls=True, login=("anna", "right"))
    async with server.listening():
        await send(f"smtp://anna:right@127.0.0.1:{server.port}?tls=opportunistic")
        server.hides_starttls = False
        await send(f"smtp://anna:right@127.0.0.1:{server.port}?tls=opportunistic")
    assert server.encrypted == [False, True]


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
async def test_a_certificate_that_nobody_vouches_for_gets_neither_password_nor_mail(
    tls: ssl.SSLContext, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    server = SmtpServer(context=tls, login=("anna", "right"))
    async with server.listening(tls=scheme == "smtps"):
        with pytest.raises(DeliveryFailed, match="CERTIFICATE_VERIFY_FAILED"):
            await send(f"{scheme}://anna:right@127.0.0.1:{server.port}")
    assert server.mails == []
    assert not any(verb.startswith(("AUTH", "MAIL")) for verb in server.heard)


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
async def test_a_certificate_of_another_host_gets_neither_password_nor_mail(tls: ssl.SSLContext, scheme: str) -> None:
    server = SmtpServer(context=tls, login=("anna", "right"))
    async with server.listening(tls=scheme == "smtps"):
        with pytest.raises(DeliveryFailed, match="CERTIFICATE_VERIFY_FAILED"):
            await send(f"{scheme}://anna:right@localhost:{server.port}")
    assert server.mails == []
    assert not any(verb.startswith(("AUTH", "MAIL")) for verb in server.heard)


async def test_a_wrong_login_is_reported_without_the_password(tls: ssl.SSLContext) -> None:
    server = SmtpServer(context=tls, login=("anna", "right"))
    async with server.listening():
        with pytest.raises(DeliveryFailed) as failure:
            await send(f"smtp://anna:guess123@127.0.0.1:{server.port}")
    assert "535" in str(failure.value)
    assert "guess123" not in str(failure.value)


async def test_a_mail_that_is_turned_away_can_be_tried_again() -> None:
    server = SmtpServer(refuse=1)
    async with server.listening():
        with pytest.raises(DeliveryFailed):
            await send(f"smtp://127.0.0.1:{server.port}")
        await send(f"smtp://127.0.0.1:{server.port}")
    assert len(server.mails) == 1


async def test_a_mail_whose_recipient_the_server_refuses_for_good_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    server = SmtpServer(refuse=1, refusal="550 no such user: Anna@example.org")
    async with server.listening():
        await send(f"smtp://127.0.0.1:{server.port}")
    assert server.mails == []
    assert "recipient refused with 550" in caplog.text
    assert "Anna" not in caplog.text


async def test_a_mail_to_an_address_that_the_server_cannot_take_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    server = SmtpServer()
    async with server.listening():
        await send(f"smtp://127.0.0.1:{server.port}", WIDE)
    assert server.mails == []
    assert not any(verb.startswith("MAIL") for verb in server.heard)
    assert "SMTPUTF8" in caplog.text
    assert "straße" not in caplog.text


async def test_a_mail_to_such_an_address_is_tried_again_where_encryption_is_missing() -> None:
    server = SmtpServer()
    async with server.listening():
        with pytest.raises(DeliveryFailed, match="STARTTLS"):
            await send(f"smtp://127.0.0.1:{server.port}?tls=required", WIDE)


async def test_a_mail_whose_sender_the_server_refuses_is_tried_again() -> None:
    server = SmtpServer(refuses_sender=True, refusal="550 no mail to <Anna@example.org> from you")
    async with server.listening():
        with pytest.raises(DeliveryFailed, match="550") as failure:
            await send(f"smtp://127.0.0.1:{server.port}")
    assert "no mail to <(mailbox)> from you" in str(failure.value)


async def test_a_refused_recipient_is_not_named_in_the_reason() -> None:
    server = SmtpServer(refuse=1, refusal="451 later, Anna@example.org")
    async with server.listening():
        with pytest.raises(DeliveryFailed, match="451") as failure:
            await send(f"smtp://127.0.0.1:{server.port}")
    assert "Anna" not in str(failure.value)


async def test_a_server_that_is_not_there_is_not_sent() -> None:
    server = SmtpServer()
    async with server.listening():
        pass
    with pytest.raises(DeliveryFailed):
        await send(f"smtp://127.0.0.1:{server.port}")
