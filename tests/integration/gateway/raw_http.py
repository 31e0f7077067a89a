"""Bytes sent to a gateway over TCP, and the answers to them."""

import asyncio
import contextlib

from tests.integration.gateway.conftest import Harness

HOST = b"host: x\r\n"


async def exchange(port: int, *sent: bytes) -> bytes:
    """Sends bytes and reads until the gateway closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answer = bytearray()
    try:
        with contextlib.suppress(ConnectionError):
            for part in sent:
                writer.write(part)
                await writer.drain()
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(60):
                while part := await reader.read(65_536):
                    answer += part
    finally:
        writer.close()
    return bytes(answer)


def port_of(harness: Harness) -> int:
    port = harness.client.base_url.port
    assert port is not None
    return port


def statuses(answer: bytes) -> list[int]:
    return [int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:]]
