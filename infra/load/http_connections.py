"""A minimal HTTP/1.1 client with keep-alive: measuring a gateway must cost less than the gateway itself.

One request at a time per connection; no redirects, compression or cookies, since the gateway uses none.
"""

import asyncio
import ssl
from typing import cast
from urllib.parse import urlsplit

import httptools
import msgspec

from infra.load.errors import LoadError


class ConnectionLost(Exception):
    """The connection ended before the response was complete."""


class Response(msgspec.Struct, frozen=True):
    status: int
    # Names in lower case.
    headers: dict[str, str]
    body: bytes


class _Exchange(asyncio.Protocol):
    """One connection: writes a request and parses its response."""

    def __init__(self) -> None:
        self.usable = True
        self._transport: asyncio.WriteTransport | None = None
        self._answer: asyncio.Future[Response] | None = None
        self._begin()

    async def ask(self, request: bytes) -> Response:
        if self._transport is None or not self.usable:
            raise ConnectionLost("The connection is closed.")
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer

    def close(self) -> None:
        self.usable = False
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are not subclasses of asyncio's.
        self._transport = cast(asyncio.WriteTransport, transport)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._end(ConnectionLost(f"The answer is not HTTP: {error}"))
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(ConnectionLost(str(exc or "The connection was closed.")))

    # Callbacks of the parser.

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        response = Response(self._parser.get_status_code(), self._headers, b"".join(self._body))
        if not self._parser.should_keep_alive():
            self.close()
        self._begin()
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(response)

    def _begin(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []

    def _end(self, error: ConnectionLost) -> None:
        self.usable = False
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)


class Connections:
    """A pool of connections to one gateway: one per request under way, kept for reuse."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise LoadError(f"{url} is not the URL of a gateway, such as http://127.0.0.1:8080.")
        self._host = parts.hostname
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._port = parts.port or (443 if self._tls else 80)
        self._prefix = parts.path.rstrip("/")
        self._idle: list[_Exchange] = []

    async def request(
        self, method: str, path: str, *, token: str | None = None, body: bytes | None = None, timeout: float
    ) -> Response:
        """Sends one request and returns its response; connects if needed, within the timeout in seconds.

        Raises:
            OSError, ConnectionLost: no connection, or it was lost; whether the request took effect is unknown.
            TimeoutError: no response in time; whether the request took effect is unknown.
        """
        request = self._request(method, path, token, body)
        async with asyncio.timeout(timeout):
            connection = await self._connection()
            try:
                response = await connection.ask(request)
            except BaseException:
                connection.close()
                raise
        if connection.usable:
            self._idle.append(connection)
        return response

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()

    async def _connection(self) -> _Exchange:
        while self._idle:
            connection = self._idle.pop()
            if connection.usable:
                return connection
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(_Exchange, self._host, self._port, ssl=self._tls)
        return connection

    def _request(self, method: str, path: str, token: str | None, body: bytes | None) -> bytes:
        head = f"{method} {self._prefix}{path} HTTP/1.1\r\nHost: {self._host}:{self._port}\r\n"
        if token is not None:
            head += f"Authorization: Bearer {token}\r\n"
        if body is not None:
            head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        return head.encode() + b"\r\n" + (body or b"")
