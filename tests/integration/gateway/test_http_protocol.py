"""HTTP on the wire: slow, huge and broken requests, and a stop in the middle of one."""

import asyncio

import httpx
import pytest

from contracts.rpc.vestnik.auth.v1 import GetUserResponse, User
from contracts.values.ids import new_id
from services.gateway.server import http_protocol
from services.gateway.server import uvicorn_server as serving_module
from services.gateway.server.uvicorn_server import listening_socket, serve
from tests.conditions import until
from tests.integration.gateway.conftest import Harness


async def exchange(harness: Harness, *sent: bytes) -> bytes:
    """Sends bytes and reads until the gateway closes the connection."""
    host, port = harness.client.base_url.host, harness.client.base_url.port
    reader, writer = await asyncio.open_connection(host, port)
    try:
        for part in sent:
            writer.write(part)
            await writer.drain()
        return await asyncio.wait_for(reader.read(), 60)
    finally:
        writer.close()


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET /healthz HTTP/1.1\r\nhost: x\r\nx-slow",
        b"POST /v1/users HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{",
    ],
)
async def test_a_request_that_does_not_arrive_in_time_is_given_up(
    sent: bytes, harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_protocol, "REQUEST_SECONDS", 0.3)

    await exchange(harness, sent)


async def test_what_is_not_http_gets_a_problem(harness: Harness) -> None:
    answer = await exchange(harness, b"NONSENSE\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"application/problem+json" in answer
    assert b"\r\nx-request-id: " in answer


async def test_a_path_that_is_no_text_does_no_harm(harness: Harness) -> None:
    for path in (b"/\xff\xfe", b"/%ff%fe", b"/v1/profiles/%ed%a0%80"):
        answer = await exchange(harness, b"GET " + path + b" HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        assert answer.startswith((b"HTTP/1.1 404 ", b"HTTP/1.1 400 ")), answer


async def test_headers_without_end_are_refused(harness: Harness) -> None:
    endless = [b"GET /healthz HTTP/1.1\r\nhost: x\r\n", *[b"x-a: " + b"a" * 4000 + b"\r\n"] * 20]

    answer = await exchange(harness, *endless)

    assert answer.startswith(b"HTTP/1.1 431 ")


async def accepts(url: str) -> bool:
    async with httpx.AsyncClient(base_url=url, timeout=60) as late:
        try:
            await late.get("/healthz")
        except httpx.TransportError:
            return False
        return True


async def test_a_stop_lets_a_running_request_finish(harness: Harness) -> None:
    answering = asyncio.Event()

    async def slowly() -> GetUserResponse:
        await answering.wait()
        return GetUserResponse(user=User(user_id=new_id(), username="anna"))

    harness.script.answers = {"get_user": slowly}
    sock, stop = listening_socket(harness.settings), asyncio.Event()
    url = f"http://127.0.0.1:{sock.getsockname()[1]}"
    serving = asyncio.create_task(serve(harness.app, sock, stop, drain_seconds=60))
    async with httpx.AsyncClient(base_url=url, timeout=60) as client:
        running = asyncio.create_task(client.get("/v1/users/me", headers=harness.signed_in))
        await until(lambda: bool(harness.script.asked))
        stop.set()
        async with asyncio.timeout(60):
            while await accepts(url):
                pass
        answering.set()
        assert (await running).status_code == 200
    await asyncio.wait_for(serving, 60)


async def test_a_gateway_that_stops_answers_for_a_while_and_asks_to_be_left(harness: Harness) -> None:
    sock, stop, left, ended = listening_socket(harness.settings), asyncio.Event(), asyncio.Event(), asyncio.Event()
    url = f"http://127.0.0.1:{sock.getsockname()[1]}"
    serving = asyncio.create_task(
        serve(harness.app, sock, stop, drain_seconds=60, delay_seconds=120, leaving=left.set, ending=ended.set)
    )
    async with httpx.AsyncClient(base_url=url, timeout=60) as client:
        assert "connection" not in (await client.get("/healthz")).headers
        stop.set()
        await asyncio.wait_for(left.wait(), 60)
        # On the connection that was idle, and on a new one after that.
        for _ in range(2):
            answer = await client.get("/healthz")
            assert (answer.status_code, answer.headers["connection"]) == (200, "close")
    assert not ended.is_set()
    serving.cancel()
    await asyncio.wait((serving,))
    assert ended.is_set()


async def test_a_stop_answers_the_first_request_of_a_connection_that_it_finds_without_one(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_protocol, "_FIRST_REQUEST_SECONDS", 30.0)
    sock, stop = listening_socket(harness.settings), asyncio.Event()
    host, port = sock.getsockname()[:2]
    serving = asyncio.create_task(serve(harness.app, sock, stop, drain_seconds=60))
    assert await accepts(f"http://{host}:{port}")
    reader, writer = await asyncio.open_connection(host, port)
    stop.set()
    async with asyncio.timeout(60):
        while await accepts(f"http://{host}:{port}"):
            pass
    writer.write(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
    assert (await asyncio.wait_for(reader.read(), 60)).startswith(b"HTTP/1.1 200 ")
    writer.close()
    await asyncio.wait_for(serving, 60)


async def test_a_request_that_a_stop_does_not_wait_for_is_answered_with_a_code(harness: Harness) -> None:
    never = asyncio.Event()

    async def hang() -> GetUserResponse:
        await never.wait()
        raise AssertionError

    harness.script.answers = {"get_user": hang}
    sock, stop = listening_socket(harness.settings), asyncio.Event()
    url = f"http://127.0.0.1:{sock.getsockname()[1]}"
    serving = asyncio.create_task(serve(harness.app, sock, stop, drain_seconds=1))
    async with httpx.AsyncClient(base_url=url, timeout=60) as client:
        running = asyncio.create_task(client.get("/v1/users/me", headers=harness.signed_in))
        await until(lambda: bool(harness.script.asked))
        stop.set()
        answer = await running
    assert (answer.status_code, answer.json()["code"]) == (504, "deadline_exceeded")
    await asyncio.wait_for(serving, 60)


async def test_a_connection_that_is_idle_is_closed_and_one_that_waits_for_an_answer_is_not(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving_module, "_KEEP_ALIVE_SECONDS", 2)
    answering = asyncio.Event()

    async def slowly() -> GetUserResponse:
        await answering.wait()
        return GetUserResponse(user=User(user_id=new_id(), username="anna"))

    harness.script.answers = {"get_user": slowly}
    sock, stop = listening_socket(harness.settings), asyncio.Event()
    port = sock.getsockname()[1]
    serving = asyncio.create_task(serve(harness.app, sock, stop, drain_seconds=60))

    async def ask(path: str, writer: asyncio.StreamWriter) -> None:
        headers = "".join(f"{name}: {value}\r\n" for name, value in harness.signed_in.items())
        writer.write(f"GET {path} HTTP/1.1\r\nhost: x\r\n{headers}\r\n".encode())

    async def head(reader: asyncio.StreamReader) -> bytes:
        header_block = await reader.readuntil(b"\r\n\r\n")
        length = int(header_block.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        await reader.readexactly(length)
        return header_block

    async with asyncio.timeout(60):
        busy, to_busy = await asyncio.open_connection("127.0.0.1", port)
        await ask("/healthz", to_busy)
        await head(busy)
        await ask("/v1/users/me", to_busy)
        idle, to_idle = await asyncio.open_connection("127.0.0.1", port)
        await ask("/healthz", to_idle)
        await head(idle)
        assert await idle.read() == b""
        answering.set()
        assert (await head(busy)).startswith(b"HTTP/1.1 200 ")
        # From then on it is idle itself.
        assert await busy.read() == b""
        for writer in (to_busy, to_idle):
            writer.close()
        stop.set()
        await serving
