"""Floods of HTTP/2 frames at a gRPC port: the connection is closed, its state is dropped, and others are served."""

import asyncio
import contextlib
import gc
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from grpclib.client import Channel
from grpclib.const import Status
from grpclib.exceptions import GRPCError
from grpclib.protocol import Stream
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated
from hpack import Encoder

from contracts.rpc.vestnik.messaging.v1 import (
    MessagingServiceBase,
    MessagingServiceStub,
    SendMessageRequest,
    SendMessageResponse,
)
from infra.embedded.ports import free_port
from infra.provisioning.certificates import make_certificates
from infra.rpc.health import is_serving
from infra.rpc.server import RpcServer
from infra.rpc.service_tokens import Issuer
from infra.rpc.tls import client_side, server_side
from infra.rpc.transport import connection_limits as connections
from infra.rpc.transport.frame_limits import MOST_CONTROL, MOST_RESETS
from infra.rpc.transport.protobuf_codec import StrictCodec
from infra.security.secrets import Secrets
from infra.settings import Settings

ANNA = "0192f0c1-2b3a-7000-8000-000000000001"
SEND = "/vestnik.messaging.v1.MessagingService/SendMessage"
CHECK, WATCH = "/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SLOW = "slow"


class Messaging(MessagingServiceBase):
    async def send_message(self, message: SendMessageRequest) -> SendMessageResponse:
        if message.text == SLOW:
            await asyncio.sleep(3_600)
        return SendMessageResponse(message=message.text.encode())


class Port:
    def __init__(self, server: RpcServer, port: int, secrets: Secrets, context: ssl.SSLContext | None = None) -> None:
        self.server = server
        self.port = port
        self.secrets = secrets
        self.context = context

    @property
    def connections(self) -> set[connections._Bounded]:
        return self.server._server.connections

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        name = "messaging" if self.context else None
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, ssl=self.context, server_hostname=name)
        writer.write(PREFACE + frame(4))
        return reader, writer


@pytest_asyncio.fixture
async def port(tmp_path: Path) -> AsyncIterator[Port]:
    secrets = Secrets.create(tmp_path / "secrets")
    server, number = RpcServer("messaging", [Messaging()], secrets=secrets), free_port()
    await server.start("127.0.0.1", number)
    server.set_ready(True)
    yield Port(server, number, secrets)
    await server.drain(1.0)


def frame(kind: int, flags: int = 0, payload: bytes = b"", stream: int = 0) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def call(stream: int, path: str = SEND, *, end: bool = True) -> bytes:
    """The headers of a call that shows no credential; whether they end there."""
    headers = [(":method", "POST"), (":scheme", "http"), (":path", path), ("te", "trailers")]
    content = "application/grpc+proto"
    return frame(1, 0x4 if end else 0, Encoder().encode([*headers, ("content-type", content)]), stream)


def reset(stream: int) -> bytes:
    return frame(3, 0, b"\0\0\0\x08", stream)


FLOODS = {
    "resets": b"".join(call(stream) + reset(stream) for stream in range(1, 40 * int(MOST_RESETS), 2)),
    "ping": frame(6, 0, b"12345678") * (10 * int(MOST_CONTROL)),
    "settings": frame(4) * int(MOST_CONTROL),
    "empty data": call(1, WATCH) + frame(0, 0, b"", 1) * (10 * int(MOST_CONTROL)),
    "continuation": b"".join(
        call(stream, end=False) + frame(9, 0, b"", stream) * 30 + frame(9, 0x4, b"", stream)
        for stream in range(1, 1_000, 2)
    ),
}


async def closed_with(reader: asyncio.StreamReader) -> ErrorCodes | int | None:
    """The error with which the server closes the connection; None if it sends none."""
    library = H2Connection()
    library.initiate_connection()
    error: ErrorCodes | int | None = None
    async with asyncio.timeout(60):
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65_536):
                with contextlib.suppress(Exception):
                    # What answers calls that this library has not made means nothing to it.
                    for event in library.receive_data(data):
                        error = event.error_code if isinstance(event, ConnectionTerminated) else error
                if b"too many" in data:
                    error = ErrorCodes.ENHANCE_YOUR_CALM
    return error


@pytest.mark.parametrize("flood", FLOODS)
async def test_a_flood_closes_its_connection_and_no_other(port: Port, flood: str) -> None:
    bystander = Channel("127.0.0.1", port.port, codec=StrictCodec())
    await _sent(bystander, port)
    reader, writer = await port.connect()
    writer.write(FLOODS[flood])
    assert await closed_with(reader) is ErrorCodes.ENHANCE_YOUR_CALM
    writer.close()
    await _sent(bystander, port)
    assert await is_serving("127.0.0.1", port.port, timeout=60)
    bystander.close()


@pytest.mark.parametrize("flood", ["resets", "ping"])
async def test_a_flood_over_tls_closes_its_connection_too(tmp_path: Path, flood: str) -> None:
    secrets, number = Secrets.create(tmp_path / "secrets"), free_port()
    make_certificates(tmp_path / "secrets")
    settings = Settings(
        secrets_dir=str(tmp_path / "secrets"), rpc_tls="on", addresses={"messaging": f"127.0.0.1:{number}"}
    )
    server = RpcServer("messaging", [Messaging()], secrets=secrets)
    await server.start("127.0.0.1", number, tls_context=server_side(settings, "messaging"))
    server.set_ready(True)
    tls = client_side(settings, "gateway", "messaging")
    assert tls is not None
    reader, writer = await Port(server, number, secrets, tls.context).connect()
    writer.write(FLOODS[flood])
    assert await closed_with(reader) is ErrorCodes.ENHANCE_YOUR_CALM
    writer.close()
    assert await is_serving("127.0.0.1", number, timeout=60, tls=tls)
    await server.drain(1.0)


async def test_calls_that_are_reset_in_the_packet_that_begins_them_leave_nothing_behind(port: Port) -> None:
    _, writer = await port.connect()
    # Fewer than make a flood, so that the connection stays.
    writer.write(b"".join(call(stream) + reset(stream) for stream in range(1, int(MOST_RESETS), 2)))
    last = int(MOST_RESETS) * 2 + 1
    writer.write(call(last, WATCH))
    async with asyncio.timeout(60):
        while not any(last in candidate.processor.streams for candidate in port.connections):
            await asyncio.sleep(0.01)
        [connection] = port.connections
        while len(connection.processor.streams) > 1 or len(connection._calls._tasks) > 1:
            await asyncio.sleep(0.01)
    assert not connection._calls._cancelled
    writer.close()


async def test_sixty_thousand_resets_leave_no_stream_in_memory(port: Port) -> None:
    # Kept referenced, so that no new object gets one of their ids.
    of_other_tests = [tracked for tracked in gc.get_objects() if isinstance(tracked, Stream)]
    before = set(map(id, of_other_tests))

    async def attack() -> None:
        reader, writer = await port.connect()
        with contextlib.suppress(ConnectionError):
            for first in range(1, 30_000, 200):
                writer.write(b"".join(call(stream) + reset(stream) for stream in range(first, first + 200, 2)))
                await writer.drain()
        await closed_with(reader)
        writer.close()

    await asyncio.gather(*(attack() for _ in range(4)))
    async with asyncio.timeout(60):
        while port.connections:
            await asyncio.sleep(0.01)
        gc.collect()
        while any(isinstance(tracked, Stream) and id(tracked) not in before for tracked in gc.get_objects()):
            await asyncio.sleep(0.05)
            gc.collect()


async def test_a_caller_that_cancels_many_calls_keeps_its_connection(port: Port) -> None:
    channel = Channel("127.0.0.1", port.port, codec=StrictCodec())
    await _sent(channel, port)
    [connection] = port.connections
    for _ in range(30):
        # All of them reach their deadline in the same moment.
        ends = await asyncio.gather(*(_sent(channel, port, SLOW, timeout=0.05) for _ in range(40)))
        assert not any(ends)
        assert all(await asyncio.gather(*(_sent(channel, port) for _ in range(40))))
    assert port.connections == {connection}
    channel.close()


async def test_calls_without_a_credential_are_few_on_a_connection_and_small(port: Port) -> None:
    reader, writer = await port.connect()
    excess = 2 * connections.MOST_PUBLIC_CALLS + 1
    writer.write(b"".join(call(stream, CHECK) for stream in range(1, excess + 2, 2)))
    # The first one begins a message of 4 GiB.
    writer.write(frame(0, 0, b"\0\xff\xff\xff\xff", 1) + frame(0, 0, b"x" * 16_000, 1) + frame(0, 0, b"x" * 16_000, 1))
    resets: dict[int, int] = {}
    async with asyncio.timeout(60):
        while len(resets) < 2:
            head = await reader.readexactly(9)
            payload = await reader.readexactly(int.from_bytes(head[:3], "big"))
            if head[3] == 3:
                resets[int.from_bytes(head[5:], "big")] = int.from_bytes(payload, "big")
    assert resets == {1: ErrorCodes.ENHANCE_YOUR_CALM, excess: ErrorCodes.REFUSED_STREAM}
    writer.close()
    assert await is_serving("127.0.0.1", port.port, timeout=60)


async def test_a_caller_that_reads_nothing_is_not_read_either(port: Port) -> None:
    _, writer = await port.connect()
    writer.transport.pause_reading()  # type: ignore[attr-defined]  # of the transport that a connection has
    # Each frame on a stream that was reset is answered by another reset, and none of the answers is read.
    writer.write(call(1) + reset(1))
    late = frame(1, 0x4, b"\x82", 1) * 1_000
    async with asyncio.timeout(120):
        while not port.connections:
            await asyncio.sleep(0.01)
        [connection] = port.connections
        transport = connection._transport
        assert transport is not None
        while transport.is_reading():
            if writer.transport.get_write_buffer_size() < 1_000_000:
                writer.write(late)
            await asyncio.sleep(0)
    assert not transport.is_closing()
    assert transport.get_write_buffer_size() < 1_000_000
    assert await is_serving("127.0.0.1", port.port, timeout=60)
    writer.transport.abort()


async def _sent(channel: Channel, port: Port, text: str = "hello", timeout: float = 60.0) -> bool:
    """Whether the call is answered in time.

    Raises:
        StreamTerminatedError: the connection was lost.
    """
    request = SendMessageRequest(sender_id=ANNA, recipient_id="b" * 36, text=text, client_message_id="c-1")
    metadata = {"authorization": f"Bearer {Issuer('gateway', port.secrets).token('messaging', ANNA)}"}
    try:
        answer = await MessagingServiceStub(channel).send_message(request, timeout=timeout, metadata=metadata)
    except TimeoutError:
        return False
    except GRPCError as error:
        # The server's own deadline may end before the caller's.
        if error.status is not Status.DEADLINE_EXCEEDED:
            raise
        return False
    return answer.message.decode() == text
