"""The gRPC edge under rubbish: broken frames, broken messages, floods. Nothing wrong is believed, and it serves on."""

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from grpclib import Status
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, DataReceived, Event, ResponseReceived, StreamReset, TrailersReceived

from contracts.rpc.vestnik.messaging.v1 import (
    MessagingServiceBase,
    MessagingServiceStub,
    SendMessageRequest,
    SendMessageResponse,
)
from infra.embedded.ports import free_port
from infra.rpc.call_context import Call
from infra.rpc.client import Client
from infra.rpc.health import is_serving
from infra.rpc.server import RpcServer
from infra.rpc.service_tokens import Issuer
from infra.rpc.transport import connection_limits, framing
from infra.rpc.transport.protobuf_codec import StrictCodec
from infra.security.secrets import Secrets
from infra.settings import Settings

ANNA = "0192f0c1-2b3a-7000-8000-000000000001"
GOOD = SendMessageRequest(sender_id=ANNA, recipient_id="b" * 36, text="Привет, 🦉!", client_message_id="c-1")
PATH = "/vestnik.messaging.v1.MessagingService/SendMessage"


class Messaging(MessagingServiceBase):
    def __init__(self) -> None:
        self.taken: list[SendMessageRequest] = []

    async def send_message(self, message: SendMessageRequest) -> SendMessageResponse:
        self.taken.append(message)
        return SendMessageResponse(message=message.text.encode())


class Edge:
    """A running server, and ways to reach it below the level of gRPC."""

    def __init__(self, port: int, secrets: Secrets, messaging: Messaging) -> None:
        self.port = port
        self.secrets = secrets
        self.messaging = messaging
        self.token = Issuer("gateway", secrets).token("messaging", ANNA)

    async def serves(self) -> bool:
        """Whether a decent caller is answered."""
        settings = Settings(addresses={"messaging": f"127.0.0.1:{self.port}"})
        client = Client("messaging", me="gateway", settings=settings, secrets=self.secrets)
        try:
            stub = client.stub(MessagingServiceStub)
            answer = await client.call(stub.send_message, GOOD, context=Call(request_id="r", actor=ANNA))
        finally:
            client.close()
        return answer.message.decode() == GOOD.text

    async def status(self, body: bytes, *extra: tuple[str, str], end: bool = True) -> Status | None:
        """The gRPC status of a call with this body; None if the connection or the call was aborted without one."""
        async with asyncio.timeout(60):
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            try:
                connection = H2Connection(H2Configuration(validate_outbound_headers=False))
                connection.initiate_connection()
                connection.send_headers(1, [*self.headers(), *extra])
                for first in range(0, len(body), 16_000):
                    connection.send_data(1, body[first : first + 16_000])
                if end:
                    connection.end_stream(1)
                writer.write(connection.data_to_send())
                while data := await reader.read(65_536):
                    for event in connection.receive_data(data):
                        if (ended := _ended(event)) is not None:
                            return ended[0]
                    writer.write(connection.data_to_send())
            except ConnectionError:
                return None
            finally:
                writer.close()
        return None

    def headers(self) -> list[tuple[str, str]]:
        return [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", PATH),
            (":authority", "x"),
            ("te", "trailers"),
            ("content-type", "application/grpc+proto"),
            ("authorization", f"Bearer {self.token}"),
        ]


def _ended(event: Event) -> tuple[Status | None] | None:
    if isinstance(event, ResponseReceived | TrailersReceived):
        for name, value in event.headers or ():
            if name == b"grpc-status":
                return (Status(int(value)),)
    if isinstance(event, StreamReset | ConnectionTerminated):
        return (None,)
    assert not isinstance(event, DataReceived) or event.data
    return None


def framed(message: bytes, *, length: int | None = None, compressed: int = 0) -> bytes:
    return bytes([compressed]) + (len(message) if length is None else length).to_bytes(4, "big") + message


@pytest_asyncio.fixture
async def edge(tmp_path: Path) -> AsyncIterator[Edge]:
    secrets, messaging = Secrets.create(tmp_path / "secrets"), Messaging()
    server = RpcServer("messaging", [messaging], secrets=secrets)
    port = free_port()
    await server.start("127.0.0.1", port)
    server.set_ready(True)
    yield Edge(port, secrets, messaging)
    await server.drain(1.0)


async def test_a_decent_call_is_answered_at_this_level_too(edge: Edge) -> None:
    assert await edge.status(framed(bytes(GOOD))) is Status.OK
    assert edge.messaging.taken == [GOOD]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x00",
        b"\x00\x00\x00\x00",
        framed(bytes(GOOD), length=len(bytes(GOOD)) + 1),
        framed(bytes(GOOD), compressed=1),
        framed(bytes(GOOD), compressed=255),
        framed(b"", length=2**32 - 1),
        framed(b"", length=framing.LARGEST_MESSAGE + 1),
        framed(bytes(GOOD)[:-3]),
        framed(b"\xff" * 64),
        framed(b"\x0a\x05\xff\xfe\xfd\xfc\xfb"),
        framed(b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f"),
    ],
    ids=repr,
)
async def test_a_broken_frame_or_message_is_the_callers_fault(
    edge: Edge, body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    assert await edge.status(body) is Status.INVALID_ARGUMENT
    assert not edge.messaging.taken
    assert "Traceback" not in caplog.text
    assert await edge.serves()


async def test_a_message_cut_at_any_byte_or_changed_at_random_is_refused_or_read_as_google_reads_it(
    edge: Edge,
) -> None:
    good, dice = bytes(GOOD), random.Random(2026)
    broken = [good[:end] for end in range(len(good))]
    for _ in range(200):
        wild = bytearray(good)
        for _ in range(dice.randint(1, 4)):
            wild[dice.randrange(len(wild))] = dice.randrange(256)
        broken.append(bytes(wild))
    ends = await asyncio.gather(*(_counted(edge, body) for body in broken))
    # Whatever was let through is in the user's own name, and equals what the C library makes of the same bytes.
    for message in edge.messaging.taken:
        assert message.sender_id == ANNA
        assert StrictCodec().decode(bytes(message), SendMessageRequest) == message
    assert {Status.INVALID_ARGUMENT} < set(ends) <= {Status.OK, Status.INVALID_ARGUMENT, Status.PERMISSION_DENIED}
    assert await edge.serves()


_AT_ONCE = asyncio.Semaphore(20)


async def _counted(edge: Edge, message: bytes) -> Status | None:
    async with _AT_ONCE:
        return await edge.status(framed(message))


async def test_a_message_just_within_the_bound_is_read(edge: Edge) -> None:
    room = framing.LARGEST_MESSAGE - len(bytes(SendMessageRequest(sender_id=ANNA))) - 8
    client_settings = Settings(addresses={"messaging": f"127.0.0.1:{edge.port}"})
    client = Client("messaging", me="gateway", settings=client_settings, secrets=edge.secrets)
    try:
        stub = client.stub(MessagingServiceStub)
        large = SendMessageRequest(sender_id=ANNA, text="x" * room)
        await client.call(stub.send_message, large, context=Call(request_id="r", actor=ANNA))
    finally:
        client.close()
    assert len(edge.messaging.taken[0].text) == room


async def test_headers_without_end_close_the_connection(edge: Edge) -> None:
    many = [(f"x-{number}", "v" * 1_000) for number in range(80)]
    assert await edge.status(framed(bytes(GOOD)), *many) is None
    assert await edge.status(framed(bytes(GOOD)), ("x-large", "v" * 70_000)) is None
    assert not edge.messaging.taken
    assert await edge.serves()


@pytest.mark.parametrize("sent", [b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", b"\x00" * 4096, bytes(range(256)) * 8])
async def test_what_is_not_http_2_is_cut_off(edge: Edge, sent: bytes, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
    writer.write(sent)
    await _read_out(reader)
    writer.close()
    assert "Traceback" not in caplog.text
    assert await edge.serves()


async def test_random_frames_do_no_harm(edge: Edge, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    dice = random.Random(7)
    for _ in range(60):
        hello = H2Connection()
        hello.initiate_connection()
        reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
        frames_sent = b"".join(
            len(payload).to_bytes(3, "big")
            + bytes([dice.randrange(12), dice.randrange(256)])
            + dice.choice((0, 1, 3)).to_bytes(4, "big")
            + payload
            for payload in (dice.randbytes(dice.randrange(40)) for _ in range(4))
        )
        writer.write(hello.data_to_send() + frames_sent)
        writer.write_eof()
        await _read_out(reader)
        writer.close()
    assert "Traceback" not in caplog.text
    assert await edge.serves()


async def test_a_connection_that_says_nothing_is_closed(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as impatient:
        impatient.setattr(connection_limits, "GREETING_SECONDS", 0.2)
        for sent in (b"", b"PRI * HTTP/2.0\r\n"):
            reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
            writer.write(sent)
            await _read_out(reader)
            writer.close()
    assert await edge.serves()


async def test_connections_are_bounded_and_free_again_once_they_are_closed(
    edge: Edge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_limits, "MOST_CONNECTIONS", 20)
    held = [await asyncio.open_connection("127.0.0.1", edge.port) for _ in range(20)]
    assert not await is_serving("127.0.0.1", edge.port)
    for _, writer in held:
        writer.close()
    async with asyncio.timeout(60):
        while not await is_serving("127.0.0.1", edge.port):
            await asyncio.sleep(0.02)
    assert await edge.serves()


async def _read_out(reader: asyncio.StreamReader) -> None:
    """Returns when the server has closed the connection, in whatever way."""
    async with asyncio.timeout(60):
        with contextlib.suppress(ConnectionError):
            while await reader.read(65_536):
                pass
