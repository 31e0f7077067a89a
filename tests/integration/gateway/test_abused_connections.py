"""Connections that are held, or kept alive, by hardly anything: the wire alone, before an application that echoes."""

import asyncio
import base64
import contextlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from starlette.types import Receive, Scope, Send

from infra.settings import Settings
from services.gateway.server import http_protocol, websocket_protocol
from services.gateway.server.connection_limits import ConnectionLimiter
from services.gateway.server.uvicorn_server import listening_socket, serve
from tests.conditions import until
from tests.integration.gateway.raw_http import exchange, statuses

CHUNKED = b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n"
GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
UPGRADE = b"host: x\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n"
KEY = b"sec-websocket-key: " + base64.b64encode(b"x" * 16) + b"\r\n"


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the headers that it sees, and `/large` with more than a small connection holds."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (await receive())["type"] != "websocket.disconnect":
            pass
        return
    while (await receive()).get("more_body"):
        pass
    seen = b",".join(name for name, _ in scope["headers"])
    body = b"x" * 60_000 if scope["path"] == "/large" else seen
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


@asynccontextmanager
async def serving(admission: ConnectionLimiter | None = None) -> AsyncIterator[int]:
    sock, stop = listening_socket(Settings(port=0)), asyncio.Event()
    # Accepted connections hold as little.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)
    task = asyncio.create_task(serve(echo, sock, stop, drain_seconds=1, admission=admission))
    try:
        yield sock.getsockname()[1]
    finally:
        stop.set()
        await task
        sock.close()


async def test_headers_that_come_after_the_contents_are_none() -> None:
    async with serving() as port:
        trailer = b"x-forwarded-for: 10.0.0.1\r\n\r\n"
        answer = await exchange(port, CHUNKED + trailer + GET.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"))
        assert statuses(answer) == [200, 200]
        assert b"host,transfer-encoding" in answer
        assert b"forwarded" not in answer


@pytest.mark.parametrize("endless", [b"x: y\r\n", b"x" * 6])
async def test_headers_after_the_contents_have_a_bound(endless: bytes) -> None:
    async with serving() as port:
        answer = await exchange(port, CHUNKED, *[endless * 2_000] * 20)
        assert statuses(answer)[0] == 431


@pytest.mark.parametrize("first", [b"", GET])
async def test_blank_lines_do_not_hold_a_connection(first: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_protocol, "REQUEST_SECONDS", 0.5)
    async with serving() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(first)
        if first:
            await asyncio.wait_for(reader.readuntil(b"host"), 60)
        writer.write(b"\r\n")
        with contextlib.suppress(ConnectionError):
            assert await asyncio.wait_for(reader.read(), 60) == b""
        writer.close()


@pytest.mark.parametrize("ends", [True, False], ids=["ends", "asks for the end"])
async def test_a_closed_connection_of_a_client_that_reads_nothing_is_given_up(
    ends: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_protocol, "STALL_SECONDS", 0.5)
    async with serving(admission := ConnectionLimiter(most=10, most_of_one=0)) as port:
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            client.connect(("127.0.0.1", port))
            asking = b"" if ends else b"connection: close\r\n"
            client.sendall(b"GET /large HTTP/1.1\r\nhost: x\r\n" + asking + b"\r\n")
            await until(lambda: admission._open == 1)
            if ends:
                # What is taken so far shows that the answer is under way.
                await asyncio.to_thread(client.recv, 1)
                client.shutdown(socket.SHUT_WR)
            await until(lambda: admission._open == 0)


HANDSHAKES = [
    (b"GET /v1/ws HTTP/1.1\r\n" + UPGRADE, 400, b'"instance":"/v1/ws"'),
    (b"POST /v1/ws HTTP/1.1\r\n" + UPGRADE + KEY, 405, b"\r\nallow: GET\r\n"),
    (b"GET /v1/ws HTTP/1.1\r\n" + UPGRADE + KEY + b"x: " + b"a" * 9_000 + b"\r\n", 431, b'"headers_too_large"'),
    (b"GET /v1/ws HTTP/1.1\r\n" + UPGRADE.replace(b"13", b"12") + KEY, 400, b"\r\nsec-websocket-version: 13\r\n"),
]


async def test_a_handshake_that_is_none_is_refused_with_a_problem_and_closed() -> None:
    async with serving() as port:
        for request, status, more in HANDSHAKES:
            answer = await exchange(port, request + b"\r\n")
            assert statuses(answer) == [status], answer
            assert more in answer
            assert b"\r\ncontent-type: application/problem+json\r\n" in answer
            assert b"\r\nx-request-id: " in answer
            assert b"\r\nx-content-type-options: nosniff\r\n" in answer
            assert b"\r\ncontent-security-policy: default-src 'none'" in answer


async def test_a_message_without_end_closes_the_websocket() -> None:
    # Begun as text, then empty and never finished.
    begin, more = b"\x01\x80mask", b"\x00\x80mask"
    async with serving() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /v1/ws HTTP/1.1\r\n" + UPGRADE + KEY + b"\r\n")
        assert b" 101 " in await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60)
        writer.write(begin + more * (websocket_protocol.MOST_FRAGMENTS + 100))
        answer = await asyncio.wait_for(reader.read(), 60)
        assert answer[:1] == b"\x88"
        assert int.from_bytes(answer[2:4], "big") == 1009
        writer.close()
