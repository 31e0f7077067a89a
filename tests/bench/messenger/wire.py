"""HTTP requests as prepared bytes over keep-alive connections, so that the client does not limit the measurement."""

import asyncio
from typing import cast
from urllib.parse import urlsplit

_LENGTH = b"content-length: "


class Connection(asyncio.Protocol):
    """One request at a time; the answer's status and body."""

    def __init__(self) -> None:
        self._transport: asyncio.WriteTransport | None = None
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._buffer = b""
        # Bytes that the answer has in all; 0 while its head is not whole.
        self._whole = 0
        self._body = 0

    @classmethod
    async def open(cls, url: str) -> "Connection":
        host, port = address(url)
        _, connection = await asyncio.get_running_loop().create_connection(cls, host, port)
        return connection

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        assert self._transport is not None
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are none of asyncio's classes.
        self._transport = cast(asyncio.WriteTransport, transport)

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        if not self._whole:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            begin = self._buffer.lower().find(_LENGTH, 0, end)
            length = 0
            if begin >= 0:
                length = int(self._buffer[begin + len(_LENGTH) : self._buffer.find(b"\r\n", begin)])
            self._body = end + 4
            self._whole = self._body + length
        if len(self._buffer) < self._whole:
            return
        status, body = int(self._buffer[9:12]), self._buffer[self._body : self._whole]
        self._buffer, self._whole = self._buffer[self._whole :], 0
        if self._answer is not None and not self._answer.done():
            self._answer.set_result((status, body))

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionError(str(exc or "the connection was closed")))


def address(url: str) -> tuple[str, int]:
    """Host and port of `http://host:port`."""
    parts = urlsplit(url)
    return str(parts.hostname), int(parts.port or 80)


def request(method: str, url: str, path: str, token: str | None = None, body: bytes | None = None) -> bytes:
    """One request, ready to be written."""
    head = f"{method} {path} HTTP/1.1\r\nHost: {urlsplit(url).netloc}\r\n"
    if token is not None:
        head += f"Authorization: Bearer {token}\r\n"
    if body is not None:
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + (body or b"")
