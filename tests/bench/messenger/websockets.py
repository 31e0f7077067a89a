"""A client of `/v1/ws` at the level of bytes: many commands in flight on one connection."""

import asyncio
import os
from base64 import b64encode
from typing import cast

import msgspec

from tests.bench.messenger.wire import address

# RFC 6455, section 5.2. A mask of zeros is a mask, and costs nobody anything.
_TEXT, _CLOSE, _PING, _PONG = 0x1, 0x8, 0x9, 0xA
_NO_MASK = b"\0\0\0\0"


class _Answer(msgspec.Struct):
    # None: it is an event.
    answer: str | None = None
    status: int = 0


_DECODER = msgspec.json.Decoder(_Answer)


class WebSocket(asyncio.Protocol):
    """Commands by their ids; events are counted and let go."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self._transport: asyncio.WriteTransport | None = None
        self._buffer = b""
        self._waiting: dict[str, asyncio.Future[int]] = {}
        self._opened: asyncio.Future[None] = loop.create_future()
        self._open = False
        self.events = 0

    @classmethod
    async def open(cls, url: str, token: str) -> "WebSocket":
        host, port = address(url)
        _, connection = await asyncio.get_running_loop().create_connection(cls, host, port)
        key = b64encode(os.urandom(16)).decode()
        assert connection._transport is not None
        connection._transport.write(
            f"GET /v1/ws HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
        )
        async with asyncio.timeout(30):
            await connection._opened
        return connection

    async def ask(self, command_id: str, command: bytes) -> int:
        """Sends a command and gives the status of its answer."""
        assert self._transport is not None
        answered: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting[command_id] = answered
        self._transport.write(_frame(_TEXT, command))
        return await answered

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are none of asyncio's classes.
        self._transport = cast(asyncio.WriteTransport, transport)

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer + data if self._buffer else data
        if not self._open:
            end = buffer.find(b"\r\n\r\n")
            if end < 0:
                self._buffer = buffer
                return
            if not buffer.startswith(b"HTTP/1.1 101"):
                self._opened.set_exception(ConnectionError(buffer[:200].decode("latin-1")))
                return
            self._open, buffer = True, buffer[end + 4 :]
            self._opened.set_result(None)
        at, size = 0, len(buffer)
        while size - at >= 2:
            length, head = buffer[at + 1], 2
            if length == 126:
                head = 4
                length = int.from_bytes(buffer[at + 2 : at + 4], "big")
            elif length == 127:
                head = 10
                length = int.from_bytes(buffer[at + 2 : at + 10], "big")
            if size - at < head + length:
                break
            self._take(buffer[at] & 0x0F, buffer[at + head : at + head + length])
            at += head + length
        self._buffer = buffer[at:]

    def connection_lost(self, exc: Exception | None) -> None:
        lost = ConnectionError(str(exc or "the connection was closed"))
        if not self._opened.done():
            self._opened.set_exception(lost)
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(lost)

    def _take(self, kind: int, payload: bytes) -> None:
        if kind == _TEXT:
            decoded = _DECODER.decode(payload)
            if decoded.answer is None:
                self.events += 1
            elif (waiting := self._waiting.pop(decoded.answer, None)) is not None and not waiting.done():
                waiting.set_result(decoded.status)
        elif kind == _PING and self._transport is not None:
            self._transport.write(_frame(_PONG, payload))
        elif kind == _CLOSE:
            self.close()


def _frame(kind: int, payload: bytes) -> bytes:
    length = len(payload)
    if length < 126:
        head = bytes((0x80 | kind, 0x80 | length))
    elif length < 1 << 16:
        head = bytes((0x80 | kind, 0x80 | 126)) + length.to_bytes(2, "big")
    else:
        head = bytes((0x80 | kind, 0x80 | 127)) + length.to_bytes(8, "big")
    return head + _NO_MASK + payload
