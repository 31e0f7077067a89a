"""Mutual TLS between services: no certificate, another party's certificate, a false server."""

import shutil
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from grpclib import GRPCError, Status

from contracts.errors import Unavailable, VestnikError
from contracts.rpc.vestnik.auth.v1 import AuthServiceStub, GetUserRequest
from infra.embedded.ports import free_port
from infra.provisioning.certificates import make_certificates
from infra.rpc.call_context import Call
from infra.rpc.client import Client
from infra.rpc.health import is_serving
from infra.rpc.server import RpcServer
from infra.rpc.service_tokens import Issuer
from infra.rpc.tls import BadCertificate, client_side, server_side
from infra.runtime.process_probes import ProbeFailed, check_ready
from infra.security.secrets import Secrets
from infra.settings import Settings
from tests.integration.infra.test_rpc_access import ANNA, Auth


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    Secrets.create(tmp_path / "secrets")
    make_certificates(tmp_path / "secrets")
    return Settings(data_dir=tmp_path, addresses={"auth": f"127.0.0.1:{free_port()}"}, rpc_tls="on")


@asynccontextmanager
async def serving(settings: Settings, certificate: str = "auth") -> AsyncIterator[None]:
    server = RpcServer("auth", [Auth()], secrets=Secrets.load(settings.secrets_path))
    await server.start(*settings.addresses_of("auth")[0], tls_context=server_side(settings, certificate))
    server.set_ready(True)
    yield
    await server.drain(1.0)


@pytest_asyncio.fixture
async def auth(settings: Settings) -> AsyncIterator[Settings]:
    async with serving(settings):
        yield settings


async def ask(settings: Settings, me: str = "gateway", token_of: str = "gateway") -> str:
    secrets = Secrets.load(settings.secrets_path)
    client = Client("auth", me=me, settings=settings, secrets=secrets)
    client._issuer = Issuer(token_of, secrets)
    try:
        stub = client.stub(AuthServiceStub)
        request, call = GetUserRequest(user_id=ANNA), Call(request_id="r", actor=ANNA)
        answer = await client.call(stub.get_user, request, timeout=10, context=call)
    finally:
        client.close()
    assert answer.user is not None
    return answer.user.user_id


async def test_a_service_with_its_own_certificate_is_let_in(auth: Settings) -> None:
    assert await ask(auth) == ANNA
    assert await is_serving(*auth.addresses_of("auth")[0], tls=client_side(auth, "operator", "auth"), timeout=60)


async def test_a_probe_shows_the_certificate_of_the_service_that_it_asks(auth: Settings) -> None:
    await check_ready(auth, "auth")
    with pytest.raises(ProbeFailed, match="auth"):
        await check_ready(Settings(data_dir=auth.data_dir, addresses=auth.addresses), "auth")


async def test_who_shows_no_certificate_is_not(auth: Settings) -> None:
    plain = Settings(data_dir=auth.data_dir, addresses=auth.addresses)
    with pytest.raises(VestnikError):
        await ask(plain)
    host, port = auth.addresses_of("auth")[0]
    assert not await is_serving(host, port)
    nameless = client_side(auth, "gateway", "auth")
    assert nameless is not None
    bare = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    bare.load_verify_locations(auth.secrets_path / "tls-ca.pem")
    bare.set_alpn_protocols(["h2"])
    assert not await is_serving(host, port, tls=type(nameless)(bare, "auth"))


async def test_a_certificate_of_another_authority_counts_for_nothing(auth: Settings, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(auth.secrets_path, other)
    for path in other.glob("tls-*"):
        path.unlink()
    make_certificates(other)
    shutil.copy(auth.secrets_path / "tls-ca.pem", other / "tls-ca.pem")
    stranger = Settings(addresses=auth.addresses, secrets_dir=str(other), rpc_tls="on")
    with pytest.raises(VestnikError):
        await ask(stranger)


async def test_a_stolen_token_is_worth_nothing_without_the_certificate_of_its_service(auth: Settings) -> None:
    with pytest.raises(Unavailable) as refused:
        await ask(auth, me="profile", token_of="gateway")
    assert isinstance(refused.value.__cause__, GRPCError)
    assert refused.value.__cause__.status is Status.UNAUTHENTICATED
    assert "certificate" in str(refused.value.__cause__)


async def test_another_service_cannot_pass_for_the_one_that_is_called(settings: Settings) -> None:
    async with serving(settings, certificate="profile"):
        with pytest.raises(VestnikError):
            await ask(settings)


async def test_without_its_files_nothing_starts(settings: Settings) -> None:
    (settings.secrets_path / "tls-auth.key").unlink()
    with pytest.raises(BadCertificate, match=r"tls-auth\.pem"):
        server_side(settings, "auth")


def test_what_was_made_stays_and_is_read_by_its_owner_alone(settings: Settings) -> None:
    before = {path.name: path.read_bytes() for path in settings.secrets_path.glob("tls-*")}
    make_certificates(settings.secrets_path)
    assert before == {path.name: path.read_bytes() for path in settings.secrets_path.glob("tls-*")}
    assert all(path.stat().st_mode & 0o077 == 0 for path in settings.secrets_path.glob("tls-*"))
