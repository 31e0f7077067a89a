"""Access over gRPC: calls without a token, with another service's token, or for another user."""

import time
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import jwt
import pytest
import pytest_asyncio
from grpclib import GRPCError, Status
from grpclib.client import Channel

from contracts.errors import Forbidden, Unauthenticated
from contracts.rpc.vestnik.auth.v1 import AuthServiceBase, AuthServiceStub, GetUserRequest, GetUserResponse, User
from infra.embedded.ports import free_port
from infra.rpc import service_tokens
from infra.rpc.call_context import Call, ClientSession
from infra.rpc.server import RpcServer
from infra.rpc.service_tokens import Issuer, Verifier
from infra.security.key_lifecycle import KeyTerms
from infra.security.secrets import Secrets
from tests.integration.infra.test_rpc import calling

# Brackets in brackets, among the claims of a token.
_NESTED = urlsafe_b64encode(b'{"x":' + b"[" * 1_400).decode().rstrip("=")

ANNA, BORIS = "anna", "boris"
TERMS = KeyTerms(lead=timedelta(seconds=600), life=timedelta(seconds=900))


class Auth(AuthServiceBase):
    async def get_user(self, message: GetUserRequest) -> GetUserResponse:
        return GetUserResponse(user=User(user_id=message.user_id))


@pytest_asyncio.fixture
async def port(secrets: Secrets) -> AsyncIterator[int]:
    server = RpcServer("auth", [Auth()], secrets=secrets)
    port = free_port()
    await server.start("127.0.0.1", port)
    server.set_ready(True)
    yield port
    await server.drain(1.0)


async def status(port: int, **metadata: str) -> Status:
    """The gRPC status of a call for Anna with these headers."""
    channel = Channel("127.0.0.1", port)
    try:
        await AuthServiceStub(channel).get_user(GetUserRequest(user_id=ANNA), timeout=60, metadata=metadata)
    except GRPCError as error:
        return error.status
    finally:
        channel.close()
    return Status.OK


def token(secrets: Secrets, *, signed_by: str = "gateway", algorithm: str = "EdDSA", **changed: object) -> str:
    now = int(time.time())
    claims = {"iss": "gateway", "aud": "auth", "iat": now, "exp": now + 300, "sub": ANNA} | changed
    claims = {name: value for name, value in claims.items() if value is not None}
    key = secrets.service_key(signed_by) if algorithm == "EdDSA" else "k" * 32 if algorithm == "HS256" else None
    return f"Bearer {jwt.encode(claims, key, algorithm=algorithm)}"  # type: ignore[arg-type]  # None: unsigned


async def test_a_good_token_in_the_users_own_name_is_let_in(port: int, secrets: Secrets) -> None:
    assert await status(port, authorization=token(secrets)) is Status.OK


async def test_a_call_without_a_token_is_refused(port: int) -> None:
    assert await status(port) is Status.UNAUTHENTICATED


@pytest.mark.parametrize(
    "changed",
    [
        {"aud": "session"},
        {"aud": ["auth", "session"]},
        {"aud": None},
        {"exp": int(time.time()) - 60, "iat": int(time.time()) - 360},
        {"exp": int(time.time()) + 86_400},
        {"exp": None},
        {"iat": None},
        {"iat": int(time.time()) + 3_600, "exp": int(time.time()) + 3_700},
        {"iss": "contact"},
        {"iss": "nobody"},
        {"iss": None},
        {"sub": 7},
        {"signed_by": "contact"},
        {"algorithm": "none"},
        {"algorithm": "HS256"},
    ],
)
async def test_a_token_that_is_not_right_in_every_respect_is_refused(
    port: int, secrets: Secrets, changed: dict[str, str]
) -> None:
    assert await status(port, authorization=token(secrets, **changed)) is Status.UNAUTHENTICATED


@pytest.mark.parametrize(
    "authorization",
    ["-", "Bearer", "Bearer ", "Basic abc", "Bearer a.b.c", "Bearer " + "x" * 9_000, f"Bearer e30.{_NESTED}.e30"],
)
async def test_what_is_no_token_is_refused(port: int, authorization: str) -> None:
    assert await status(port, authorization=authorization) is Status.UNAUTHENTICATED


async def test_a_token_of_another_deployment_is_refused(port: int, tmp_path: Path) -> None:
    other = Secrets.create(tmp_path / "other")
    assert await status(port, authorization=token(other)) is Status.UNAUTHENTICATED


async def test_an_access_token_of_a_client_is_no_service_token(port: int, secrets: Secrets) -> None:
    key_id, key = secrets.signing_keys(TERMS).current()
    now = int(time.time())
    claims = {"iss": "gateway", "aud": "auth", "iat": now, "exp": now + 300, "sub": ANNA}
    forged = jwt.encode(claims, key, algorithm="EdDSA", headers={"kid": key_id})
    assert await status(port, authorization=f"Bearer {forged}") is Status.UNAUTHENTICATED


@pytest.mark.parametrize("service", ["profile", "session", "messaging", "auth", "operator"])
async def test_a_service_that_has_no_business_here_is_refused(port: int, secrets: Secrets, service: str) -> None:
    foreign = token(secrets, iss=service, signed_by=service)
    assert await status(port, authorization=foreign) is Status.PERMISSION_DENIED


@pytest.mark.parametrize("user", [BORIS, None, "", ANNA.upper()])
async def test_a_call_for_a_user_that_the_token_does_not_name_is_refused(
    port: int, secrets: Secrets, user: str | None
) -> None:
    named = token(secrets, sub=user)
    assert await status(port, authorization=named) is Status.PERMISSION_DENIED
    # A header that says otherwise counts for nothing.
    headers = {"authorization": named, "vestnik-actor": ANNA}
    assert await status(port, **headers) is Status.PERMISSION_DENIED


async def test_a_client_acts_for_the_user_of_its_call_alone(port: int, secrets: Secrets) -> None:
    async with calling(secrets, port) as client:
        stub = client.stub(AuthServiceStub)
        for_anna = Call(request_id="r", actor=ANNA)
        answer = await client.call(stub.get_user, GetUserRequest(user_id=ANNA), context=for_anna)
        assert answer.user is not None
        with pytest.raises(Forbidden):
            await client.call(stub.get_user, GetUserRequest(user_id=BORIS), context=for_anna)


async def test_a_remembered_token_runs_out_too(secrets: Secrets, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [time.time()]
    verifier = Verifier("auth", secrets, clock=lambda: now[0], monotonic=lambda: now[0])
    good = token(secrets)
    assert verifier.credential(good).user == ANNA

    def run_out(*_: object) -> dict[str, object]:
        raise jwt.ExpiredSignatureError

    monkeypatch.setattr(verifier, "_decode", run_out)
    assert verifier.credential(good).user == ANNA
    now[0] += 301
    with pytest.raises(Unauthenticated):
        verifier.credential(good)


async def test_one_token_serves_many_calls_and_a_new_one_comes_before_it_runs_out(secrets: Secrets) -> None:
    now = [time.time()]
    issuer = Issuer("gateway", secrets, clock=lambda: now[0])
    first = issuer.token("auth", ANNA)
    assert issuer.token("auth", ANNA) == first
    assert len({first, issuer.token("auth", BORIS), issuer.token("session", ANNA), issuer.token("auth")}) == 4
    now[0] += service_tokens.LIFE - 30
    assert issuer.token("auth", ANNA) != first


async def test_the_gateways_token_proves_the_clients_session_and_address(secrets: Secrets) -> None:
    issuer, verifier = Issuer("gateway", secrets), Verifier("operator", secrets)
    session = ClientSession(
        session_id=BORIS, address="192.0.2.7", logged_in_at=1_700_000_000, second_factor=True, unattended=True
    )
    token = issuer.token("operator", ANNA, session)
    assert verifier.credential(f"Bearer {token}").session == session
    # A token of one address or session serves no other.
    elsewhere = ClientSession(session_id=BORIS, address="198.51.100.1")
    assert len({token, issuer.token("operator", ANNA, elsewhere), issuer.token("operator", ANNA)}) == 3
    assert verifier.credential(f"Bearer {issuer.token('operator', ANNA)}").session is None


@pytest.mark.parametrize(
    "claims",
    [
        {"sid": BORIS},
        {"addr": "192.0.2.7"},
        {"sid": BORIS, "addr": "192.0.2.7"},
        {"amr": ["pwd", "otp"]},
        {"auth_time": 1},
        {"unattended": True},
    ],
)
async def test_only_the_gateway_may_claim_a_clients_session(secrets: Secrets, claims: dict[str, object]) -> None:
    now = int(time.time())
    verifier = Verifier("operator", secrets)
    for service, accepted in (("gateway", True), ("auth", False), ("operator", False)):
        payload = {"iss": service, "aud": "operator", "sub": ANNA, "iat": now, "exp": now + 60, **claims}
        bearer = f"Bearer {jwt.encode(payload, secrets.service_key(service), algorithm='EdDSA')}"
        if accepted:
            verifier.credential(bearer)
        else:
            with pytest.raises(Unauthenticated):
                verifier.credential(bearer)


async def test_keys_are_changed_while_everything_runs(secrets: Secrets, tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    now = [time.time() - service_tokens.LIFE + 40]
    issuer = Issuer("gateway", Secrets.load(folder), clock=lambda: now[0], monotonic=lambda: now[0])
    verifier = Verifier("auth", Secrets.load(folder), clock=lambda: now[0], monotonic=lambda: now[0])
    old = f"Bearer {issuer.token('auth', ANNA)}"
    verifier.credential(old)

    secrets.rotate_service_keys()
    now[0] = time.time()
    new = f"Bearer {issuer.token('auth', ANNA)}"
    assert new != old
    assert verifier.credential(new).user == verifier.credential(old).user == ANNA

    secrets.rotate_service_keys()
    fresh = Verifier("auth", Secrets.load(folder))
    assert fresh.credential(new).user == ANNA
    with pytest.raises(Unauthenticated):
        fresh.credential(old)


async def test_tokens_without_end_are_remembered_within_a_bound(
    secrets: Secrets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_tokens, "_CACHED", 5)
    issuer, verifier = Issuer("gateway", secrets), Verifier("auth", secrets)
    for number in range(20):
        verifier.credential(f"Bearer {issuer.token('auth', f'user-{number}')}")
    assert len(verifier._verified) == len(issuer._tokens) == 5
