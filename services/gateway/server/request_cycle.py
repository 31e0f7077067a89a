"""One request and its response: uvicorn's cycle, with a fast path for complete responses."""

import asyncio
from typing import TYPE_CHECKING, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from services.gateway.http.response import ANSWER
from services.gateway.http.scope_extensions import CAN_WRITE, TAKE_BODY
from services.gateway.http.streaming_response import ABORT, MORE

if TYPE_CHECKING:
    from uvicorn._types import ASGI3Application

    from services.gateway.server.http_protocol import BoundedProtocol

_CLOSE = b"connection: close\r\n"


class _DefaultHead:
    """The default headers, serialized once per list; the server makes a new list each second, with the date."""

    def __init__(self) -> None:
        self._of: list[tuple[bytes, bytes]] | None = None
        self._head = b""

    def head(self, headers: list[tuple[bytes, bytes]]) -> bytes:
        if headers is not self._of:
            self._of = headers
            self._head = b"".join([name + b": " + value + b"\r\n" for name, value in headers])
        return self._head


_COMMON = _DefaultHead()


class RequestCycle(RequestResponseCycle):
    def __init__(self, connection: "BoundedProtocol", *, keep_alive: bool) -> None:
        # Skips uvicorn's constructor: the same fields, taken from the connection.
        self.scope = connection.scope
        self.transport = connection.transport
        self.flow = connection.flow
        self.logger = connection.logger
        self.access_logger = connection.access_logger
        self.access_log = connection.access_log
        self.default_headers = connection.server_state.default_headers
        self.message_event = asyncio.Event()
        self.on_response = connection.on_response_complete
        self.disconnected = False
        self.keep_alive = keep_alive
        self.waiting_for_100_continue = connection.expect_100_continue
        self.body = bytearray()
        self.more_body = True
        self.response_started = False
        self.response_complete = False
        self.chunked_encoding = None
        self.expected_content_length = 0
        scope = cast("dict[str, object]", self.scope)
        scope[ABORT] = connection.transport.abort
        scope[CAN_WRITE] = connection.is_taken
        scope[TAKE_BODY] = self.whole_body
        scope[ANSWER] = self.write_response
        scope[MORE] = self.write_chunk

    async def run_asgi(self, app: "ASGI3Application") -> None:
        try:
            await super().run_asgi(app)
        finally:
            # The cycle and the scope refer to each other. Breaking the reference frees a request once it is answered
            # instead of at the next garbage collection.
            scope = cast("dict[str, object]", self.scope)
            del scope[TAKE_BODY], scope[ANSWER], scope[MORE]

    def whole_body(self) -> bytes | None:
        """Takes the body if all of it has arrived and no `100 Continue` has to be sent first; else None."""
        if self.more_body or self.disconnected or self.response_complete or self.waiting_for_100_continue:
            return None
        # As in `receive`: the next `receive` waits for the disconnect.
        self.flow.resume_reading()
        self.message_event.clear()
        body, self.body = bytes(self.body), bytearray()
        return body

    def write_response(self, status: int, head: bytes, body: bytes) -> None:
        """Writes the whole response synchronously; the caller checks first that the socket is writable.

        `head`: its header fields, each with its line ending, content-length included.
        """
        if self.disconnected:
            return
        self.response_started = self.response_complete = True
        self.waiting_for_100_continue = False
        parts = [STATUS_LINE[status], _COMMON.head(self.default_headers), head]
        if not self.keep_alive:
            parts.append(_CLOSE)
        parts.append(b"\r\n")
        if self.scope["method"] != "HEAD":
            parts.append(body)
        self.transport.write(b"".join(parts))
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()

    def write_chunk(self, part: bytes) -> None:
        """Writes a chunk of a response without a length; the caller checks first that the socket is writable."""
        if not self.disconnected:
            self.transport.write(b"%x\r\n%b\r\n" % (len(part), part))
