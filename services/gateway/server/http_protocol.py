"""uvicorn's HTTP protocol with limits on the size and duration of requests and on stalled clients.

uvicorn limits the pause between requests, but not the time that a request takes to arrive: a client that sends a byte
a minute would hold its connection forever. It limits neither the time that a client takes to read its response nor the
number of connections. Requests whose end or target is ambiguous are rejected here too (RFC 9112): a proxy in front
might interpret them differently.
"""

import asyncio
from functools import partial
from typing import ClassVar, cast
from urllib.parse import unquote

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from services.gateway.server.coalescing_transport import MOST_HELD, CoalescingTransport
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
from services.gateway.server.request_cycle import RequestCycle
from services.gateway.server.websocket_protocol import BoundedWebSocket

# From the connection's start, or a request's first byte, to the request's last byte.
REQUEST_SECONDS = 20.0
# How long a client may read nothing, and how long a closed connection may take to flush.
STALL_SECONDS = 30.0
# Of a request's headers; also of the framing around and between the parts of its body.
HEADER_BYTES = 32 * 1024
MOST_HEADERS = 100
URL_BYTES = 8 * 1024


class BoundedProtocol(HttpToolsProtocol):
    """Closes a connection whose request is too slow, too large or ambiguous, or whose client does not read."""

    # Shared by all connections of one server; set in services/gateway/server/uvicorn_server.py.
    admission: ClassVar[ConnectionLimiter] = ConnectionLimiter(most=20_000, most_of_one=0)

    _deadline: asyncio.TimerHandle | None = None
    _stalled: asyncio.TimerHandle | None = None
    # Checks periodically whether the connection is idle: cheaper than a timer per request.
    _idle: asyncio.TimerHandle | None = None
    _idle_since = 0.0
    _address: str | None = None
    _arriving = False
    _in_headers = True
    _framing_bytes = 0
    _refusal: Refusal | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        super().connection_made(CoalescingTransport(transport, self.loop, STALL_SECONDS))
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
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        self.resume_writing()
        if isinstance(self.transport, CoalescingTransport):
            self.transport.connection_lost()
        super().connection_lost(exc)

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
            # Also after blank lines, or the rest of a request that was answered early: no response follows that would
            # start the idle check.
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
            self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Like uvicorn's, with a single pass over the headers; uvicorn scans them again for each of its features."""
        self._in_headers, self._framing_bytes = False, 0
        parser, scope = self.parser, self.scope
        version = parser.get_http_version()
        self._check_headers(version)
        scope["method"] = parser.get_method().decode("ascii")
        if version != "1.1":
            scope["http_version"] = version
        if parser.should_upgrade() and self._should_upgrade():
            return
        url = httptools.parse_url(self.url)
        path = url.path.decode("ascii")
        scope["path"] = unquote(path) if "%" in path else path
        scope["raw_path"] = url.path
        scope["query_string"] = url.query or b""
        waiting = self.cycle is not None and not self.cycle.response_complete
        self.cycle = RequestCycle(self, keep_alive=version != "1.0" and parser.should_keep_alive())
        if waiting:
            # Pipelined requests are answered in order.
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))
        else:
            self._start_asgi_task(self.cycle, self.app)

    def is_taken(self) -> bool:
        return not self.flow.write_paused and cast(CoalescingTransport, self.transport).buffered < MOST_HELD

    def on_body(self, body: bytes) -> None:
        self._framing_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._arriving, self._in_headers, self._framing_bytes = False, True, 0
        self._cancel_deadline()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
            return
        self._idle_since = self.loop.time()
        if self._idle is None:
            self._idle = self.loop.call_later(self.timeout_keep_alive, self._check_idle)

    def _check_idle(self) -> None:
        seconds = float(self.timeout_keep_alive)
        if self._deadline is None and self.cycle is not None and self.cycle.response_complete:
            seconds += self._idle_since - self.loop.time()
        if seconds <= 0:
            self._idle = None
            self.transport.close()
        else:
            self._idle = self.loop.call_later(seconds, self._check_idle)

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
            elif name == b"expect" and value.lower() == b"100-continue":
                self.expect_100_continue = True
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
