"""Access tokens at the gateway: whose are good, until when, and how soon a revoked one is not."""

import time
from pathlib import Path

import pytest
from nats.aio.client import Client as NATS

from contracts import subjects
from contracts.events.session import SessionRevoked
from contracts.identifiers import new_id
from contracts.rpc.vestnik.auth.v1 import GetUserResponse, User
from infra.embedded.nats import NatsServer
from services.gateway import following
from tests.integration.gateway.conftest import Stage, ready, staged

ACCOUNT = GetUserResponse(user=User(user_id=new_id(), username="anna", email="a@example.org"))


async def status(stage: Stage, token: str) -> int:
    stage.script.answers = {"get_user": ACCOUNT}
    return (await stage.client.get("/v1/users/me", headers={"authorization": f"Bearer {token}"})).status_code


async def test_only_our_own_unexpired_tokens_are_good(stage: Stage) -> None:
    assert await status(stage, stage.token()) == 200
    assert await status(stage, stage.token(expires_in=-1)) == 401
    assert await status(stage, stage.token(issuer="http://elsewhere")) == 401
    assert await status(stage, stage.token()[:-4] + "AAAA") == 401
    assert await status(stage, "no.token.atall") == 401
    assert await status(stage, "x" * 5000) == 401


async def test_a_remembered_token_runs_out_too(stage: Stage) -> None:
    token = stage.token(expires_in=2)
    assert await status(stage, token) == 200
    deadline = time.monotonic() + 5
    while await status(stage, token) == 200:
        assert time.monotonic() < deadline
    assert await status(stage, token) == 401


async def test_a_revoked_session_is_refused_within_a_second(stage: Stage) -> None:
    token = stage.token()
    assert await status(stage, token) == 200

    event = SessionRevoked(user_id=stage.user_id, reason="refresh_token_reused")
    await stage.append(subjects.session(stage.session_id), stage.session_id, event)

    since = time.monotonic()
    while await status(stage, token) == 200:
        assert time.monotonic() - since < 1.0
    assert await status(stage, stage.token(session_id=new_id())) == 200


async def test_a_gateway_that_starts_knows_what_was_revoked_before(tmp_path: Path, streams: NATS) -> None:
    async with staged(tmp_path, streams) as first:
        event = SessionRevoked(user_id=first.user_id, reason="logout")
        await first.append(subjects.session(first.session_id), first.session_id, event)
        token = first.token()

    async with staged(tmp_path, streams) as second:
        assert await status(second, token) == 401


async def test_a_gateway_that_hears_nothing_of_sessions_refuses_rather_than_risks(
    stage: Stage, nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "SILENCE_SECONDS", 1.5)
    token = stage.token()
    assert await status(stage, token) == 200

    nats_server.kill()
    deadline = time.monotonic() + 10
    while await status(stage, token) == 200:
        assert time.monotonic() < deadline
    assert await status(stage, token) == 503
    assert "revocations" in (await stage.client.get("/readyz")).json()["missing"]

    await nats_server.start()
    await ready(stage.client, within=20)
    assert await status(stage, token) == 200
