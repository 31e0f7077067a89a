"""Who may open a stream of calls, and for whom each call on it is made."""

import time
from pathlib import Path

import pytest
from grpclib import GRPCError, Status

from contracts.errors import Forbidden
from contracts.rpc.vestnik.auth.v1 import AuthServiceStub, GetUserRequest
from infra.embedded.ports import free_port
from infra.rpc import service_tokens
from infra.rpc.call_context import Call
from infra.rpc.service_tokens import Issuer
from infra.security.secrets import Secrets
from tests.integration.infra.auth_replica import known, serving
from tests.integration.infra.multiplexed_calls import ask, calling, opened


@pytest.mark.parametrize(
    ("token", "status"),
    [
        ("-", Status.UNAUTHENTICATED),
        ("Bearer x", Status.UNAUTHENTICATED),
        ("notary", Status.PERMISSION_DENIED),
        ("contact", Status.OK),
    ],
)
async def test_only_a_party_that_may_call_something_opens_a_stream(
    secrets: Secrets, token: str, status: Status
) -> None:
    port = free_port()
    shown = f"Bearer {Issuer(token, secrets).token('auth')}" if token.isalpha() else token
    async with serving(secrets, known, port):
        try:
            async with opened(secrets, port, token=shown):
                opening = Status.OK
        except GRPCError as error:
            opening = error.status
    assert opening is status


async def test_each_call_is_made_by_the_service_and_for_the_user_that_its_own_token_names(secrets: Secrets) -> None:
    port = free_port()
    now = int(time.time())
    expired = Issuer("gateway", secrets, clock=lambda: now - service_tokens.LIFE - 60).token("auth", "u")
    tokens = {
        1: "",
        2: f"Bearer {expired}",
        3: f"Bearer {Issuer('contact', secrets).token('auth', 'u')}",
        4: f"Bearer {Issuer('gateway', secrets).token('session', 'u')}",
        5: f"Bearer {Issuer('gateway', secrets).token('auth', 'other')}",
        6: f"Bearer {Issuer('gateway', secrets).token('auth')}",
        7: f"Bearer {Issuer('gateway', secrets).token('auth', 'u')}",
    }
    async with serving(secrets, known, port), opened(secrets, port) as raw:
        for number, token in tokens.items():
            await raw.send(raw.call(number, "u", token=token))
        statuses = {answer.id: Status(answer.status) for answer in [await raw.answer() for _ in tokens]}
    unknown, denied = Status.UNAUTHENTICATED, Status.PERMISSION_DENIED
    assert statuses == {1: unknown, 2: unknown, 3: unknown, 4: unknown, 5: denied, 6: denied, 7: Status.OK}


async def test_a_client_that_acts_for_another_user_is_refused(secrets: Secrets) -> None:
    port = free_port()
    async with serving(secrets, known, port), calling(secrets, port) as client:
        stub = client.stub(AuthServiceStub)
        with pytest.raises(Forbidden):
            await client.call(stub.get_user, GetUserRequest(user_id="b"), context=Call(request_id="r", actor="a"))


async def test_a_line_outlives_the_token_that_opened_it_and_a_change_of_keys(
    secrets: Secrets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [time.time() - service_tokens.LIFE + 40]
    monkeypatch.setattr(service_tokens, "_CHECK_SECONDS", 0.0)
    port = free_port()
    async with serving(secrets, known, port) as running, calling(Secrets.load(tmp_path / "secrets"), port) as client:
        client._issuer = Issuer("gateway", Secrets.load(tmp_path / "secrets"), clock=lambda: now[0])
        assert await ask(client) == "u"
        (stream,) = running._streams
        first = client._issuer.token("auth", "u")
        secrets.rotate_service_keys()
        now[0] = time.time()
        assert await ask(client) == "u"
        assert client._issuer.token("auth", "u") != first
        assert running._streams == {stream}
