"""Rate limits over HTTP: headers on limited routes, and a refusal that says when to come back."""

from pathlib import Path

from nats.aio.client import Client as NATS

from contracts.rpc.vestnik.auth.v1 import LoginResponse, ResendVerificationResponse
from contracts.rpc.vestnik.session.v1 import Tokens
from tests.integration.gateway.conftest import Stage, staged

BODY = {"login": "Anna", "password": "correct horse"}


async def test_logins_are_counted_by_address_and_by_name(stage: Stage) -> None:
    stage.script.answers = {"login": LoginResponse(tokens=Tokens())}
    answers = [await stage.client.post("/v1/sessions", json=BODY) for _ in range(31)]

    assert [answer.status_code for answer in answers[:30]] == [201] * 30
    assert answers[0].headers["ratelimit-policy"] == '"login";q=120;w=60, "login-name";q=30;w=60'
    assert answers[0].headers["ratelimit"].startswith('"login";r=119;t=')
    refused = answers[30]
    assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
    assert int(refused.headers["retry-after"]) >= 1
    assert '"login-name";r=0' in refused.headers["ratelimit"]
    assert (await stage.client.post("/v1/sessions", json={**BODY, "login": "bo"})).status_code == 201


async def test_refusals_of_limited_routes_have_the_headers_and_other_routes_have_none(stage: Stage) -> None:
    stage.script.answers = {"resend_verification": ResendVerificationResponse()}
    malformed = await stage.client.post("/v1/users", content=b"{", headers={"content-type": "application/json"})
    assert (malformed.status_code, malformed.headers["ratelimit-policy"]) == (400, '"register";q=120;w=60')
    assert "ratelimit" not in (await stage.client.get("/healthz")).headers


async def test_limits_can_be_switched_off_for_load_tests(tmp_path: Path, streams: NATS) -> None:
    async with staged(tmp_path, streams, rate_limits="off") as stage:
        stage.script.answers = {"login": LoginResponse(tokens=Tokens())}
        answers = [await stage.client.post("/v1/sessions", json=BODY) for _ in range(40)]
        assert {answer.status_code for answer in answers} == {201}
        assert "ratelimit" not in answers[0].headers
