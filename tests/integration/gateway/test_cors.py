"""Web pages of other origins: none is let in unless the settings name it, and none ever with cookies."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from nats.aio.client import Client as NATS
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Origin

from contracts.rpc.vestnik.contact.v1 import GetFriendsResponse
from infra.settings import BadSetting, Settings
from services.gateway.server.uvicorn_server import security_headers
from tests.integration.gateway.conftest import Harness, running_gateway

PAGE, EVIL = "https://app.example.org", "https://evil.example.org"
ASKS = {"access-control-request-method": "POST", "access-control-request-headers": "authorization,content-type"}
ALLOWED = "access-control-allow-origin"


@pytest_asyncio.fixture
async def open_harness(tmp_path: Path, streams: NATS) -> AsyncIterator[Harness]:
    async with running_gateway(tmp_path, streams, cors_origins=f"{PAGE}, http://localhost:3000") as made:
        yield made


async def ask(harness: Harness, method: str, path: str, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await harness.client.request(method, path, headers=named)


async def test_by_default_no_page_is_let_in(harness: Harness) -> None:
    preflight = await harness.client.options("/v1/sessions", headers={"origin": PAGE, **ASKS})
    assert preflight.status_code == 405
    for answer in (preflight, await ask(harness, "GET", "/healthz", origin=PAGE)):
        assert not [name for name in answer.headers if name.startswith("access-control-")]


async def test_a_named_page_may_ask_before_and_read_the_answer(open_harness: Harness) -> None:
    preflight = await open_harness.client.options("/v1/sessions", headers={"origin": PAGE, **ASKS})
    assert preflight.status_code == 204
    assert preflight.headers[ALLOWED] == PAGE
    assert "POST" in preflight.headers["access-control-allow-methods"]
    assert {"authorization", "content-type", "vestnik-position", "last-event-id"} <= set(
        preflight.headers["access-control-allow-headers"].lower().split(", ")
    )
    for path, status in (("/healthz", 200), ("/v1/users/me", 401), ("/nothing", 404)):
        answer = await ask(open_harness, "GET", path, origin=PAGE)
        assert (answer.status_code, answer.headers[ALLOWED]) == (status, PAGE)
        exposed = answer.headers["access-control-expose-headers"].split(", ")
        assert {"Vestnik-Position", "ETag", "RateLimit", "RateLimit-Policy", "Retry-After", "X-Request-Id"} <= set(
            exposed
        )
        assert "Origin" in answer.headers["vary"]
        assert "access-control-allow-credentials" not in answer.headers


async def test_the_gateways_own_files_are_for_no_other_page(open_harness: Harness) -> None:
    answer = await ask(open_harness, "GET", "/", origin=PAGE)

    assert answer.status_code == 200
    assert answer.headers["vary"] == "accept-encoding"
    assert not [name for name in answer.headers if name.startswith("access-control-")]


async def test_another_page_is_not_let_in(open_harness: Harness) -> None:
    for origin in (EVIL, "null", f"{PAGE}.evil.org", "http://app.example.org", f"{PAGE}:8443"):
        preflight = await open_harness.client.options("/v1/sessions", headers={"origin": origin, **ASKS})
        assert preflight.status_code == 405
        for answer in (preflight, await ask(open_harness, "GET", "/healthz", origin=origin)):
            assert ALLOWED not in answer.headers
            # What a cache keeps for one page is not for another.
            assert "Origin" in answer.headers["vary"]


async def test_an_ordinary_options_request_is_none_of_these(open_harness: Harness) -> None:
    assert (await open_harness.client.options("/v1/sessions", headers={"origin": PAGE})).status_code == 405
    assert (await open_harness.client.options("/nothing", headers={"origin": PAGE, **ASKS})).status_code == 404


async def test_the_same_pages_may_open_a_websocket(open_harness: Harness) -> None:
    open_harness.script.answers = {"get_friends": GetFriendsResponse()}
    url = str(open_harness.client.base_url).replace("http", "ws", 1).rstrip("/") + "/v1/ws"

    def opening(origin: str) -> connect:
        return connect(url, additional_headers=open_harness.signed_in, origin=Origin(origin), proxy=None)

    for origin in (PAGE, "http://localhost:3000"):
        async with opening(origin) as line:
            assert b"heartbeat" in await line.recv(decode=False)
    for origin in (EVIL, "http://app.example.org"):
        with pytest.raises(InvalidStatus) as refused:
            async with opening(origin):
                pass
        assert refused.value.response.status_code == 403


async def test_all_pages_may_be_let_in(tmp_path: Path, streams: NATS) -> None:
    async with running_gateway(tmp_path, streams, cors_origins="*") as harness:
        answer = await ask(harness, "GET", "/healthz", origin=EVIL)
        assert answer.headers[ALLOWED] == "*"


@pytest.mark.parametrize("value", ["app.example.org", "https://a/b", "*, https://a", "ftp://a", "https://a b"])
def test_what_is_no_origin_is_no_setting(value: str) -> None:
    with pytest.raises(BadSetting):
        Settings.made_of({"cors_origins": value})


def test_https_is_promised_only_where_the_settings_do() -> None:
    assert "strict-transport-security" not in dict(security_headers(Settings()))
    promised = dict(security_headers(Settings(hsts_seconds=31_536_000)))
    assert promised["strict-transport-security"] == "max-age=31536000; includeSubDomains"
