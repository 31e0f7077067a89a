"""uvicorn's HTTP protocol with limits on the size and duration of requests and on stalled clients.

uvicorn limits the pause between requests, but not the time that a request takes to arrive: a client that sends a byte
a minute would hold its connection forever. It limits neither the time that a client takes to read its response nor the
number of connections. Requests whose end or target is ambiguous are rejected here too (RFC 9112): a proxy in front
might interpret them differently.
"""

import asyncio
from functools import partial
from typing import ClassVar, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from services.gateway.http.scope_extensions import ABORT, CAN_WRITE
from services.gateway.server import fast_path
from services.gateway.server.closing_transport import ClosingTransport
from services.gateway.server.connection_limits import ConnectionLimiter
from services.gateway.server.protocol_errors import (
    FRAMING,
    LARGE_HEADERS,
    LONG_URL,
    NO_HOST,
    NOT_HTTP,
    TOO_MANY,
    TWO_CREDENTIALS,
    Refusal,
    written,
)
from services.gateway.server.websocket_protocol import BoundedWebSocket

# From the connection's start, or a request's first byte, to the request's last byte.
REQUEST_SECONDS = 20.0
# How long a client may read nothing, and how long a closed connection may take to flush.
STALL_SECONDS = 30.0
# How long a connection without a request yet outlasts a stop.
_FIRST_REQUEST_SECONDS = 0.5
# Of a request's headers; also of the framing around and between the parts of its body.
HEADER_BYTES = 32 * 1024
MOST_HEADERS = 100
URL_BYTES = 8 * 1024


class BoundedProtocol(HttpToolsProtocol):
    """Closes a connection whose request is too slow, too large or ambiguous, or whose client does not read."""

    # Shared by all connections of one server; set in services/gateway/server/uvicorn_server.py.
    admission: ClassVar[ConnectionLimiter] = ConnectionLimiter(most=20_000, most_of_one=0)
    # Whether the server is about to stop: each answer closes its connection.
    leaving: ClassVar[bool] = False

    _deadline: asyncio.TimerHandle | None = None
    _stalled: asyncio.TimerHandle | None = None
    _address: str | None = None
    _arriving = False
    _in_headers = True
    _framing_bytes = 0
    _refusal: Refusal | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        super().connection_made(cast(asyncio.Transport, ClosingTransport(transport, self.loop, STALL_SECONDS)))
        address = self.client[0] if self.client else ""
        if not self.admission.acquire(address):
            self._refuse(TOO_MANY)
            return
        self._address = address
        self._start_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._address is not None:
            self.admission.release(self._address)
            self._address = None
        self._cancel_deadline()
        self.resume_writing()
        if isinstance(self.transport, ClosingTransport):
            self.transport.connection_lost()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        if self.cycle is not None:
            super().shutdown()
        else:
            # Its first request may have arrived and not been read; closed now, it would be lost.
            self.loop.call_later(_FIRST_REQUEST_SECONDS, super().shutdown)

    def eof_received(self) -> None:
        # The event loop would close the inner transport, without the timer that aborts it.
        self.transport.close()

    def data_received(self, data: bytes) -> None:
        if self._address is None:
            return
        self._framing_bytes += len(data)
        super().data_received(data)
        if self._address is None:
            # Upgraded to a WebSocket.
            return
        if self._framing_bytes > HEADER_BYTES:
            self._refuse(LARGE_HEADERS)
        elif self._arriving or self.cycle is None or self.cycle.response_complete:
            # Also after blank lines, or the rest of a request that was answered early: uvicorn has stopped its idle
            # timer, and no response follows that would start it again.
            self._start_deadline()
        else:
            self._cancel_deadline()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._stalled is None:
            self._stalled = self.loop.call_later(STALL_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None
        super().resume_writing()

    def on_message_begin(self) -> None:
        self._arriving = True
        if self.cycle is not None:
            self._cancel_deadline()
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self.url += url
        if len(self.url) > URL_BYTES:
            self._reject(LONG_URL)

    def on_header(self, name: bytes, value: bytes) -> None:
        # Trailers are not covered by the header checks, and nothing here reads them.
        if self._in_headers:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_headers, self._framing_bytes = False, 0
        self._check_headers(self.parser.get_http_version())
        scope = cast("dict[str, object]", self.scope)
        scope[ABORT] = self.transport.abort
        scope[CAN_WRITE] = self.can_write
        super().on_headers_complete()
        if self.cycle is not None and self.cycle.scope is self.scope:
            # Not an upgrade. The application runs from the next iteration of the event loop on.
            if self.leaving:
                self.cycle.keep_alive = False
            fast_path.expose(self.cycle)

    def can_write(self) -> bool:
        return not self.flow.write_paused

    def on_body(self, body: bytes) -> None:
        self._framing_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._arriving, self._in_headers, self._framing_bytes = False, True, 0
        self._cancel_deadline()
        super().on_message_complete()

    def handle_websocket_upgrade(self) -> None:
        self._cancel_deadline()
        super().handle_websocket_upgrade()
        upgraded = self.transport.get_protocol()
        if isinstance(upgraded, BoundedWebSocket) and self._address is not None:
            # From here on the WebSocket protocol receives `connection_lost` and releases the slot.
            upgraded.gone = partial(self.admission.release, self._address)
            self._address = None

    def send_400_response(self, msg: str) -> None:
        self._refuse(self._refusal or NOT_HTTP)

    def _check_headers(self, version: str) -> None:
        hosts = lengths = credentials = 0
        chunked = False
        size = len(self.url)
        for name, value in self.headers:
            size += len(name) + len(value) + 4
            if name == b"host":
                hosts += 1
            elif name == b"content-length":
                lengths += 1
            elif name == b"authorization":
                credentials += 1
            elif name == b"transfer-encoding":
                if chunked or value.strip().lower() != b"chunked":
                    self._reject(FRAMING)
                chunked = True
        if size > HEADER_BYTES or len(self.headers) > MOST_HEADERS:
            self._reject(LARGE_HEADERS)
        if lengths + chunked > 1 or (chunked and version == "1.0"):
            self._reject(FRAMING)
        if hosts > 1 or (not hosts and version != "1.0"):
            self._reject(NO_HOST)
        if credentials > 1:
            self._reject(TWO_CREDENTIALS)

    def _reject(self, refusal: Refusal) -> None:
        """Stops the parser from within a callback: nothing of the request is served."""
        self._refusal = refusal
        raise refusal

    def _start_deadline(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(REQUEST_SECONDS, self.transport.abort)

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _refuse(self, refusal: Refusal) -> None:
        if self.transport.is_closing():
            return
        self.transport.write(written(refusal, self.server_state.default_headers))
        self.transport.close()
