"""HTTP on the wire: uvicorn's protocol with bounds on how slowly and how largely a request may come in.

uvicorn limits the pause between requests but not the time a request takes to arrive, so a client that sends a byte
a minute would hold its connection for ever.
"""

import asyncio
from http import HTTPStatus

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from contracts.identifiers import new_id
from services.gateway.problems import MEDIA_TYPE, Problem

# From a connection's first moment, or a request's first byte, to the request's last byte.
REQUEST_SECONDS = 20.0
HEADER_BYTES = 32 * 1024


class BoundedProtocol(HttpToolsProtocol):
    """Closes a connection whose request does not arrive in time or whose headers are too large."""

    _deadline: asyncio.TimerHandle | None = None
    _arriving = False
    _in_headers = True
    _header_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        super().connection_made(transport)
        self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        self._expect_nothing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._in_headers:
            self._header_bytes += len(data)
        super().data_received(data)
        if self._in_headers and self._header_bytes > HEADER_BYTES:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "headers_too_large", "The headers are too large.")
        elif self._arriving:
            self._expect()
        else:
            self._expect_nothing()

    def on_message_begin(self) -> None:
        self._arriving = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_headers = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._arriving, self._in_headers, self._header_bytes = False, True, 0
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        self._refuse(HTTPStatus.BAD_REQUEST, "malformed_request", "The request is not HTTP.")

    def _expect(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(REQUEST_SECONDS, self.timeout_keep_alive_handler)

    def _expect_nothing(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _refuse(self, status: HTTPStatus, code: str, detail: str) -> None:
        if self.transport.is_closing():
            return
        body = msgspec.json.encode(
            Problem(type=f"/problems/{code}", title=status.phrase, status=status, detail=detail, instance="", code=code)
        )
        head = (
            f"HTTP/1.1 {status} {status.phrase}\r\ncontent-type: {MEDIA_TYPE}\r\n"
            f"content-length: {len(body)}\r\nx-request-id: {new_id()}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()
