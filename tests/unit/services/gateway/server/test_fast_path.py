"""A request's body: accepted immediately if it is complete, otherwise received later."""

import asyncio
import gc
import weakref

import uvicorn
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from services.gateway.http import request_body
from services.gateway.http.scope_extensions import ANSWER, whole_body
from services.gateway.server.http_protocol import BoundedProtocol

HEAD = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n"


class Transport(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.written = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


class Connection:
    """A connection to a server that records the body that had arrived, and the one that it received later."""

    def __init__(self) -> None:
        config = uvicorn.Config(self, lifespan="off", log_config=None, access_log=False, proxy_headers=False)
        config.load()
        self.transport = Transport()
        self.protocol = BoundedProtocol(config=config, server_state=ServerState(), app_state={})
        self.protocol.connection_made(self.transport)
        self.here: bytes | None = None
        self.received: bytes | None = None
        self.gone = False
        self.done = asyncio.Event()

    async def send(self, *parts: bytes) -> None:
        for part in parts:
            self.protocol.data_received(part)
            await asyncio.sleep(0)

    async def until_done(self) -> None:
        async with asyncio.timeout(60):
            await self.done.wait()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.here = whole_body(scope)
        try:
            self.received = await request_body.read(receive)
        except ClientDisconnect:
            self.gone = True
        self.done.set()


class Answering(Connection):
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.here = whole_body(scope)
        scope[ANSWER](200, b"content-length: 0\r\n", b"")
        self.done.set()


async def test_a_complete_body_is_accepted_and_the_next_message_is_the_disconnect() -> None:
    connection = Connection()
    await connection.send(HEAD + b"\r\nbody")
    assert connection.here == b"body"
    assert not connection.done.is_set()
    connection.protocol.connection_lost(None)
    await connection.until_done()
    assert (connection.received, connection.gone) == (None, True)


async def test_a_body_that_has_not_arrived_completely_is_received() -> None:
    connection = Connection()
    await connection.send(HEAD + b"\r\nbo", b"dy")
    await connection.until_done()
    assert (connection.here, connection.received) == (None, b"body")


async def test_a_client_that_expects_100_continue_before_its_body_receives_it() -> None:
    connection = Connection()
    await connection.send(HEAD + b"Expect: 100-continue\r\n\r\nbody")
    await connection.until_done()
    assert (connection.here, connection.received) == (None, b"body")
    assert connection.transport.written.startswith(b"HTTP/1.1 100 Continue\r\n\r\n")


async def test_nothing_is_accepted_from_a_client_that_has_disconnected() -> None:
    connection = Connection()
    connection.protocol.data_received(HEAD + b"\r\nbody")
    connection.protocol.connection_lost(None)
    await connection.until_done()
    assert (connection.here, connection.gone) == (None, True)


async def test_a_request_that_was_answered_goes_with_the_next_one_and_leaves_no_garbage() -> None:
    connection = Answering()
    await connection.send(HEAD + b"\r\nbody")
    await connection.until_done()
    first = connection.protocol.cycle
    assert first is not None
    assert first.response_complete
    cycle = weakref.ref(first)
    del first
    gc.disable()
    try:
        connection.done.clear()
        await connection.send(HEAD + b"\r\nbody")
        await connection.until_done()
        assert cycle() is None
    finally:
        gc.enable()
