"""HTTP as no decent client sends it: two ways to read a request, hidden paths, slow and greedy connections."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import msgspec
import pytest

from contracts.rpc.vestnik.messaging.v1 import GetMessagesResponse
from infra.settings import Settings
from services.gateway.server import http_protocol
from services.gateway.server.connection_limits import ConnectionLimiter
from services.gateway.server.uvicorn_server import listening_socket, serve
from tests.integration.gateway.conftest import Harness
from tests.integration.gateway.raw_http import HOST, exchange, port_of, statuses

POST = b"POST /v1/sessions/refresh HTTP/1.1\r\n" + HOST + b"content-type: application/json\r\n"
CLOSE = b"connection: close\r\n"
SMUGGLED = b"GET /healthz?smuggled HTTP/1.1\r\n" + HOST + CLOSE + b"\r\n"
AMBIGUOUS = [
    POST + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    POST + b"transfer-encoding: chunked\r\ncontent-length: 2\r\n\r\n0\r\n\r\n" + SMUGGLED,
    POST + b"content-length: 2\r\ncontent-length: 2\r\n\r\n{}" + SMUGGLED,
    POST + b"content-length: 2\r\ncontent-length: 60\r\n\r\n{}" + SMUGGLED,
    POST + b"content-length: 2, 2\r\n\r\n{}" + SMUGGLED,
    POST + b"content-length: +2\r\n\r\n{}" + SMUGGLED,
    POST + b"content-length: 0x2\r\n\r\n{}" + SMUGGLED,
    POST + b"content-length: -2\r\n\r\n{}" + SMUGGLED,
    POST + b"content-length: 2 2\r\n\r\n{}" + SMUGGLED,
    POST + b"content-length: 99999999999999999999999999\r\n\r\n{}" + SMUGGLED,
    POST + b"content-length : 2\r\n\r\n{}" + SMUGGLED,
    POST + b"transfer-encoding: identity\r\n\r\n" + SMUGGLED,
    POST + b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    POST + b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    POST + b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    POST + b"transfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n" + SMUGGLED,
    POST + b"transfer-encoding: chunked\r\n\r\n-1\r\n{}\r\n0\r\n\r\n" + SMUGGLED,
    POST + b"transfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\n{}" + SMUGGLED,
    POST.replace(b"1.1", b"1.0") + b"transfer-encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    b"GET /healthz HTTP/1.1\r\n" + HOST + b" folded: x\r\n\r\n" + SMUGGLED,
    b"GET /healthz HTTP/1.1\r\n" + HOST + b"x-nul: a\x00b\r\n\r\n" + SMUGGLED,
    b"GET /healthz HTTP/1.1\r\n" + HOST + b"x-cr: a\rx-b: c\r\n\r\n" + SMUGGLED,
    b"GET /healthz HTTP/1.1\r\n" + HOST + b"no colon\r\n\r\n" + SMUGGLED,
    b"GET /healthz HTTP/1.1\r\n" + HOST + b": empty\r\n\r\n" + SMUGGLED,
    b"GET /healthz HTTP/1.1\r\n\r\n" + SMUGGLED,
    b"GET /healthz HTTP/1.1\r\n" + HOST + b"host: y\r\n\r\n" + SMUGGLED,
    b"GET /healthz HTTP/9.9\r\n" + HOST + b"\r\n" + SMUGGLED,
    b"GET /health z HTTP/1.1\r\n" + HOST + b"\r\n" + SMUGGLED,
    b"GET\x00 /healthz HTTP/1.1\r\n" + HOST + b"\r\n" + SMUGGLED,
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
]


async def test_a_request_that_can_be_read_in_two_ways_is_refused_and_nothing_behind_it_is_served(
    harness: Harness,
) -> None:
    for request in AMBIGUOUS:
        answer = await exchange(port_of(harness), request)
        assert statuses(answer) == [400], (request, answer)
        assert b"\r\nx-content-type-options: nosniff\r\n" in answer
    assert not harness.script.asked


async def test_two_authorization_headers_are_refused(harness: Harness) -> None:
    for second in (b"authorization", b"Authorization"):
        both = b"authorization: Bearer a\r\n" + second + b": Bearer b\r\n"
        answer = await exchange(port_of(harness), b"GET /v1/users/me HTTP/1.1\r\n" + HOST + both + b"\r\n" + SMUGGLED)
        assert statuses(answer) == [400], answer
        assert b'"malformed_request"' in answer
    upgrade = b"connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: "
    upgrade += b"dGhlIHNhbXBsZSBub25jZQ==\r\n"
    both = b"authorization: Bearer a\r\nauthorization: Bearer b\r\n"
    answer = await exchange(port_of(harness), b"GET /v1/ws HTTP/1.1\r\n" + HOST + upgrade + both + b"\r\n")
    assert statuses(answer) == [400], answer
    assert not harness.script.asked


PATHS = [
    (b"/v1/users%2fme", 404),
    (b"/v1%2Fusers/me", 404),
    (b"%2fhealthz", 400),
    (b"/%2fhealthz", 404),
    (b"//healthz", 404),
    (b"/v1//users/me", 404),
    (b"/healthz/", 404),
    (b"/healthz%00", 404),
    (b"/healthz%0d%0aset-cookie:%20x", 404),
    (b"/healthz;jsessionid=1", 404),
    (b"/../healthz", 404),
    (b"/x/../healthz", 404),
    (b"/%2e%2e/healthz", 404),
    (b"/docs/..%2f..%2fmain.py", 404),
    (b"/web/style.css", 200),
    (b"/web%2fstyle.css", 404),
    (b"/web%2Fstyle.css", 404),
    (b"/docs/../../main.py", 404),
    (b"/HEALTHZ", 404),
    (b"/healthz?" + b"a=b&" * 1_000, 200),
    (b"/healthz?" + b"a" * 9_000, 414),
    (b"/" + b"a" * 30_000, 414),
    (b"http://elsewhere/healthz", 200),
    (b"/healthz#fragment", 200),
    (b"/v1/profiles/%c3%28", 404),
]


async def test_a_path_is_what_it_says_and_nothing_else(harness: Harness) -> None:
    for target, status in PATHS:
        answer = await exchange(port_of(harness), b"GET " + target + b" HTTP/1.1\r\n" + HOST + CLOSE + b"\r\n")
        assert statuses(answer) == [status], (target, answer)
        assert b"set-cookie" not in answer.lower().partition(b"\r\n\r\n")[0]


@pytest.mark.parametrize(
    "headers",
    [b"".join(b"x-%d: a\r\n" % number for number in range(150)), b"x-large: " + b"a" * 40_000 + b"\r\n"],
    ids=["many", "large"],
)
async def test_too_many_or_too_large_headers_are_refused_also_when_they_come_at_once(
    harness: Harness, headers: bytes
) -> None:
    answer = await exchange(port_of(harness), b"GET /healthz HTTP/1.1\r\n" + HOST + headers + b"\r\n")
    assert statuses(answer) == [431]


@pytest.mark.parametrize("protocol", [b"h2c", b"tls/1.0"])
async def test_an_upgrade_that_is_not_offered_is_passed_over(harness: Harness, protocol: bytes) -> None:
    upgrade = b"connection: upgrade\r\nupgrade: " + protocol + b"\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(harness))
    writer.write(b"GET /healthz HTTP/1.1\r\n" + HOST + upgrade + b"\r\n")
    assert (await asyncio.wait_for(reader.readline(), 60)).startswith(b"HTTP/1.1 200 ")
    writer.close()


async def test_a_tunnel_is_not_opened(harness: Harness) -> None:
    answer = await exchange(port_of(harness), b"CONNECT 127.0.0.1:22 HTTP/1.1\r\n" + HOST + CLOSE + b"\r\n")
    assert statuses(answer)[0] in {400, 404, 405}


@pytest.mark.parametrize(
    ("first", "byte"),
    [
        (b"GET /healthz HTTP/1.1\r\nhost: x\r\nx: ", b"a"),
        (POST + b"content-length: 60000\r\n\r\n", b" "),
        (POST + b"transfer-encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    ],
    ids=["headers", "body", "chunks"],
)
async def test_a_request_that_comes_byte_by_byte_is_given_up(
    harness: Harness, first: bytes, byte: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_protocol, "REQUEST_SECONDS", 0.5)
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(harness))
    writer.write(first)
    gone = asyncio.create_task(reader.read())
    async with asyncio.timeout(60):
        while not gone.done():
            writer.write(byte)
            await asyncio.wait((gone,), timeout=0.02)
    with contextlib.suppress(ConnectionError):
        assert b"HTTP/1.1 200" not in await gone
    writer.close()


async def test_a_hundred_slow_clients_keep_nobody_waiting(harness: Harness) -> None:
    slow = [await asyncio.open_connection("127.0.0.1", port_of(harness)) for _ in range(100)]
    for number, (_, writer) in enumerate(slow):
        writer.write(POST + b"content-length: 60000\r\n\r\n{" if number % 2 else b"GET /healthz HTTP/1.1\r\nx")
    # Much less than after what a slow client is cut off.
    async with asyncio.timeout(http_protocol.REQUEST_SECONDS / 2):
        assert (await harness.client.get("/healthz")).status_code == 200
    for _, writer in slow:
        writer.close()


async def test_a_client_that_does_not_read_its_answer_is_cut_off(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_protocol, "STALL_SECONDS", 0.5)
    large = GetMessagesResponse(items=msgspec.json.encode(["\U0001f989" * 4_000] * 200))
    harness.script.answers = {"get_messages": large}
    path = f"/v1/conversations/{harness.user_id}/messages?limit=200"
    head = f"GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: {harness.signed_in['authorization']}\r\n\r\n".encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(harness), limit=1024)
    writer.write(head * 8)
    await writer.drain()
    # Nothing is read until the gateway has closed the connection; then the data in transit ends before the answers do.
    async with asyncio.timeout(60):
        while not _closed_by_peer(writer):
            await asyncio.sleep(0.05)
    received = 0
    with contextlib.suppress(ConnectionError):
        while part := await reader.read(65_536):
            received += len(part)
    assert received < 8 * 200 * 4_000 * 4
    writer.close()


def _closed_by_peer(writer: asyncio.StreamWriter) -> bool:
    """Writing to a connection that the other side has aborted fails sooner or later."""
    writer.write(b"\r\n")
    return writer.is_closing()


@asynccontextmanager
async def admitting(harness: Harness, admission: ConnectionLimiter) -> AsyncIterator[int]:
    sock, stop = listening_socket(Settings(port=0)), asyncio.Event()
    task = asyncio.create_task(serve(harness.app, sock, stop, drain_seconds=1, admission=admission))
    try:
        yield sock.getsockname()[1]
    finally:
        stop.set()
        await task
        sock.close()


@pytest.mark.parametrize(
    "admission", [ConnectionLimiter(most=5, most_of_one=0), ConnectionLimiter(most=100, most_of_one=5)]
)
async def test_connections_are_bounded_and_free_again_once_they_are_closed(
    harness: Harness, admission: ConnectionLimiter
) -> None:
    healthy = b"GET /healthz HTTP/1.1\r\n" + HOST + CLOSE + b"\r\n"
    async with admitting(harness, admission) as port:
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(5)]
        for reader, writer in held:
            writer.write(b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n")
            assert (await asyncio.wait_for(reader.readline(), 60)).startswith(b"HTTP/1.1 200 ")
        refused = await exchange(port, b"")
        assert statuses(refused) == [503]
        assert b"\r\nretry-after: 1\r\n" in refused
        for _, writer in held:
            writer.close()
        async with asyncio.timeout(60):
            while statuses(await exchange(port, healthy)) != [200]:
                await asyncio.sleep(0.02)


async def test_a_connection_that_became_a_websocket_is_free_again_once_it_is_closed(harness: Harness) -> None:
    upgrade = b"connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n"
    key = b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    async with admitting(harness, admission := ConnectionLimiter(most=3, most_of_one=0)) as port:
        for path in [b"/v1/ws", b"/healthz"] * 4:
            answer = await exchange(port, b"GET " + path + b" HTTP/1.1\r\n" + HOST + upgrade + key + CLOSE + b"\r\n")
            assert 503 not in statuses(answer)
        async with asyncio.timeout(60):
            while admission._open:
                await asyncio.sleep(0.02)


async def test_every_answer_tells_browsers_to_take_it_for_nothing_else(harness: Harness) -> None:
    get = harness.client.get
    answers: list[httpx.Response] = [
        await get("/healthz"),
        await get("/nothing"),
        await get("/v1/users/me"),
        await harness.client.post("/v1/users", content=b"{"),
        await get("/docs"),
        await get("/openapi.json"),
        await harness.client.request("TRACE", "/healthz"),
    ]
    for answer in answers:
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "server" not in answer.headers
        assert "strict-transport-security" not in answer.headers
