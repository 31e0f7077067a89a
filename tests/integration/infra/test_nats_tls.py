"""NATS with TLS: every connection uses the files of the settings, and a failure is reported with its reason."""

import asyncio
import json
import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from eventsourcing.persistence import OperationalError
from eventsourcing.utils import Environment
from nats.aio.client import Client as NATS
from nats.aio.transport import TcpTransport

from infra.embedded.child_process import Child
from infra.embedded.nats_server import NatsServer
from infra.runtime.connections import connect_nats
from infra.security.secrets import NATS_PARTIES
from infra.settings import BadSetting, Settings
from infra.supervisor.readiness_probes import ServerSilent, given_nats_answers
from streams.recorder import JetStreamFactory
from tests.certificates import Authority, Pair
from tests.integration.infra.failed_connections import failure_of

PATIENCE = 60.0


class TlsNatsServer(NatsServer):
    """A server that demands certificates of its clients, unless the test says otherwise."""

    def __init__(self, data_dir: Path, authority: Authority, pair: Pair, **options: object) -> None:
        super().__init__(data_dir, passwords=dict.fromkeys(NATS_PARTIES, "right"))
        self._tls = {"ca_file": str(authority.file), "cert_file": str(pair.certificate), "key_file": str(pair.key)}
        self._options = options

    def _settings(self) -> dict[str, object]:
        return super()._settings() | {"tls": self._tls | {"verify": True}} | self._options

    async def _is_ready(self, child: Child) -> bool:
        return await self._port_is_ours()

    async def _initialize(self, child: Child) -> None:
        pass


@asynccontextmanager
async def serving(server: NatsServer) -> AsyncIterator[NatsServer]:
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "authority")


@pytest.fixture
def client_pair(authority: Authority) -> Pair:
    return authority.issue("client")


def settings_of(server: NatsServer, authority: Authority, pair: Pair) -> Settings:
    return Settings(
        nats_url=server.url_of("auth"),
        nats_ca=str(authority.file),
        nats_certificate=str(pair.certificate),
        nats_key=str(pair.key),
    )


async def test_a_connection_uses_the_authority_and_the_client_certificate_of_the_settings(
    tmp_path: Path, authority: Authority, client_pair: Pair
) -> None:
    both = tmp_path / "both.pem"
    both.write_bytes(client_pair.certificate.read_bytes() + client_pair.key.read_bytes())
    async with serving(TlsNatsServer(tmp_path / "nats", authority, authority.issue("server"))) as server:
        url = server.url_of("auth")
        for nats_url, key in ((url, client_pair.key), (url.replace("nats://", "tls://"), "")):
            settings = Settings(
                nats_url=nats_url,
                nats_ca=str(authority.file),
                nats_certificate=str(client_pair.certificate if key else both),
                nats_key=str(key),
            )
            nc = await connect_nats(settings, "auth-test", patience=PATIENCE)
            await nc.flush()
            await nc.close()
            await given_nats_answers(settings)


async def test_an_encrypted_connection_that_the_server_ends_is_no_warning_of_asyncio(
    tmp_path: Path, authority: Authority, client_pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        async with serving(TlsNatsServer(tmp_path / "nats", authority, authority.issue("server"))) as server:
            nc = await connect_nats(settings_of(server, authority, client_pair), "auth-test", patience=PATIENCE)
        async with asyncio.timeout(PATIENCE):
            while nc.is_connected:
                await asyncio.sleep(0.02)
        await nc.close()
    assert "eof_received" not in caplog.text


async def test_a_connection_that_is_lost_while_it_is_made_is_made_again(
    tmp_path: Path, authority: Authority, client_pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin, lost = NATS._process_connect_init, list[object]()

    async def lose_the_first(client: NATS) -> None:
        await begin(client)
        if lost:
            return
        assert isinstance(client._transport, TcpTransport)
        assert client._transport._io_writer is not None
        transport = client._transport._io_writer.transport
        lost.append(transport)
        # As in the moment in which the answer and the end of the connection are read together.
        monkeypatch.setattr(transport, "get_protocol", lambda: None)
        transport.abort()

    monkeypatch.setattr(NATS, "_process_connect_init", lose_the_first)
    async with serving(TlsNatsServer(tmp_path / "nats", authority, authority.issue("server"))) as server:
        nc = await connect_nats(settings_of(server, authority, client_pair), "auth-test", patience=PATIENCE)
        await nc.flush()
        await nc.close()
    assert lost


async def test_the_reason_of_a_tls_failure_is_reported(tmp_path: Path, authority: Authority, client_pair: Pair) -> None:
    stranger = Authority(tmp_path, "stranger")
    async with serving(TlsNatsServer(tmp_path / "nats", authority, authority.issue("server"))) as server:
        right = settings_of(server, authority, client_pair)
        wrong = settings_of(server, stranger, client_pair)
        assert "with TLS: the server's certificate is not valid: unable to get" in await failure_of(wrong)
        with pytest.raises(ServerSilent, match=r"VESTNIK_NATS_URL.*certificate is not valid"):
            await given_nats_answers(wrong)
        without_certificate = await failure_of(Settings(nats_url=right.nats_url, nats_ca=right.nats_ca))
        assert re.search("with TLS: .*certificate required", without_certificate)
        bad_login = msgspec.structs.replace(right, nats_url=right.nats_url.replace("right", "wrong"))
        assert "refuses the login" in await failure_of(bad_login)
    for name, pair, reason in (
        ("expired", authority.issue("late", expired=True), "certificate has expired"),
        ("misnamed", authority.issue("elsewhere", "127.0.0.9"), "IP address mismatch"),
    ):
        async with serving(TlsNatsServer(tmp_path / name, authority, pair)) as server:
            assert reason in await failure_of(settings_of(server, authority, client_pair))


async def test_a_file_that_cannot_be_used_is_named_at_once(
    tmp_path: Path, authority: Authority, client_pair: Pair
) -> None:
    ca, certificate, key = str(authority.file), str(client_pair.certificate), str(client_pair.key)
    missing, other = str(tmp_path / "missing.pem"), str(authority.issue("other").key)
    for files, words in (
        ({"nats_ca": missing}, "missing.pem cannot be read: No such file"),
        ({"nats_ca": key}, "client.key holds no certificate of an authority"),
        ({"nats_ca": ca, "nats_certificate": certificate, "nats_key": other}, "no certificate that fits the key in"),
        ({"nats_ca": ca, "nats_key": key}, "client.key has no certificate"),
    ):
        with pytest.raises(BadSetting, match=words):
            await connect_nats(Settings.made_of({"nats_url": "nats://127.0.0.1:1"} | files), "auth-test")


@pytest.mark.parametrize("requirement", ["nats_ca", "tls://"])
async def test_a_server_without_tls_is_refused_before_it_has_the_password(
    authority: Authority, requirement: str
) -> None:
    received = bytearray()

    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"INFO " + json.dumps({"max_payload": 1024}).encode() + b"\r\n")
        received.extend(await reader.read())
        writer.close()

    async with await asyncio.start_server(plain, "127.0.0.1", 0) as listener:
        port = listener.sockets[0].getsockname()[1]
        scheme, ca = ("tls", "") if requirement == "tls://" else ("nats", str(authority.file))
        settings = Settings(nats_url=f"{scheme}://auth:right@127.0.0.1:{port}", nats_ca=ca)
        assert "with TLS: the server offers no TLS" in await failure_of(settings)
    assert bytes(received) == b""


async def test_tls_is_used_where_the_server_leaves_it_to_the_client(tmp_path: Path, authority: Authority) -> None:
    pair = authority.issue("server")
    optional = TlsNatsServer(
        tmp_path / "nats",
        authority,
        pair,
        tls={"cert_file": str(pair.certificate), "key_file": str(pair.key)},
        allow_non_tls=True,
    )
    stranger = Authority(tmp_path, "stranger")
    async with serving(optional) as server:
        url = server.url_of("auth")
        assert "certificate is not valid" in await failure_of(Settings(nats_url=url, nats_ca=str(stranger.file)))
        nc = await connect_nats(Settings(nats_url=url, nats_ca=str(authority.file)), "auth-test", patience=PATIENCE)
        await nc.close()


async def test_replaced_files_are_used_at_the_next_connection(
    tmp_path: Path, authority: Authority, client_pair: Pair
) -> None:
    server = TlsNatsServer(tmp_path / "nats", authority, authority.issue("server"))
    async with serving(server):
        nc = await connect_nats(settings_of(server, authority, client_pair), "auth-test", patience=PATIENCE)
        try:
            await server.stop()
            # The same paths, with the certificate of another authority and certificates that it has signed.
            successor = Authority(tmp_path, "authority")
            successor.issue("server")
            successor.issue("client")
            await server.start()
            async with asyncio.timeout(PATIENCE):
                while not nc.stats["reconnects"] or not nc.is_connected:
                    await asyncio.sleep(0.05)
            await nc.flush()
        finally:
            await nc.close()


async def test_the_recorder_of_the_eventsourcing_library_uses_the_files(
    tmp_path: Path, authority: Authority, client_pair: Pair
) -> None:
    stranger = Authority(tmp_path, "stranger")
    async with serving(TlsNatsServer(tmp_path / "nats", authority, authority.issue("server"))) as server:
        variables = {
            "NATS_URL": server.url_of("topology"),
            "NATS_INBOX_PREFIX": "_INBOX_topology",
            "NATS_STREAM": "LEDGER",
            "VESTNIK_NATS_CERTIFICATE": str(client_pair.certificate),
            "NATS_KEY": str(client_pair.key),
            "CREATE_TABLE": "no",
        }
        factory = JetStreamFactory(Environment("Ledger", variables | {"NATS_CA": str(authority.file)}))
        await asyncio.to_thread(factory.application_recorder)
        await asyncio.to_thread(factory.close)
        refused = JetStreamFactory(
            Environment("Ledger", variables | {"NATS_CA": str(stranger.file), "NATS_TIMEOUT": "2"})
        )
        with pytest.raises(OperationalError, match="TLS: the server's certificate is not valid"):
            await asyncio.to_thread(refused.application_recorder)
