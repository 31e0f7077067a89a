"""Certificates of servers: valid for their hosts, kept, and checked against the hosts of a later run."""

import asyncio
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from infra.provisioning.certificates import OtherHosts, make_certificates, make_server_certificate
from tests.certificates import Authority

HOSTS = ["nats-1", "nats-2", "10.0.0.1"]


async def test_a_servers_certificate_is_valid_for_each_of_its_hosts_and_no_other(tmp_path: Path) -> None:
    make_certificates(tmp_path)
    make_server_certificate(tmp_path, "nats", HOSTS)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server-nats.pem", tmp_path / "server-nats.key")
    client = ssl.create_default_context(cafile=str(tmp_path / "tls-ca.pem"))

    async def close(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with await asyncio.start_server(close, "127.0.0.1", 0, ssl=context) as server:
        port = server.sockets[0].getsockname()[1]
        for host in HOSTS:
            _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client, server_hostname=host)
            writer.close()
        with pytest.raises(ssl.SSLCertVerificationError, match="nats-3"):
            await asyncio.open_connection("127.0.0.1", port, ssl=client, server_hostname="nats-3")


def test_a_certificate_is_kept_and_one_for_other_hosts_is_named(tmp_path: Path) -> None:
    make_certificates(tmp_path)
    make_server_certificate(tmp_path, "nats", HOSTS)
    certificate = (tmp_path / "server-nats.pem").read_bytes()
    make_certificates(tmp_path)
    make_server_certificate(tmp_path, "nats", HOSTS[:2])
    with pytest.raises(OtherHosts, match=r"server-nats\.pem is not valid for nats-3: move it away"):
        make_server_certificate(tmp_path, "nats", [*HOSTS, "nats-3"])
    assert (tmp_path / "server-nats.pem").read_bytes() == certificate


def test_a_certificate_of_another_authority_is_the_operators_own_matter(tmp_path: Path) -> None:
    make_certificates(tmp_path)
    operators_certificate = Authority(tmp_path, "own").issue("server-edge")
    content = operators_certificate.certificate.read_bytes()
    make_server_certificate(tmp_path, "edge", ["chat.example.org"])
    assert operators_certificate.certificate.read_bytes() == content


def test_a_certificate_for_browsers_is_short_lived_and_no_other_ends_before_its_authority(tmp_path: Path) -> None:
    make_certificates(tmp_path)
    make_server_certificate(tmp_path, "nats", HOSTS)
    make_server_certificate(tmp_path, "edge", ["chat.example.org"], for_browsers=True)
    ends = {name: _ends(tmp_path / f"{name}.pem") for name in ("tls-ca", "server-nats", "server-edge")}
    # The alerts watch the authority's certificate, and no server's.
    assert ends["server-nats"] >= ends["tls-ca"]
    assert ends["server-edge"] <= datetime.now(UTC) + timedelta(days=397)


def _ends(path: Path) -> datetime:
    return x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc
