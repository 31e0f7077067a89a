"""uvicorn's WebSocket protocol, where every handshake is answered and every message is bounded."""

from collections.abc import Callable
from http import HTTPStatus
from typing import cast

from uvicorn._types import ASGISendEvent
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import SecurityError
from websockets.frames import CloseCode, Frame
from websockets.http11 import Request
from websockets.protocol import State

from services.gateway.http.scope_extensions import ABORT, CAN_WRITE, TEXT
from services.gateway.server.closing_transport import ClosingTransport
from services.gateway.server.protocol_errors import LARGE_HEADERS, NO_HANDSHAKE, NOT_WITH_GET, Refusal, written

# Of one message. The limit in bytes does not cover empty fragments.
MOST_FRAGMENTS = 1_024
# RFC 6455, section 5.2: a whole text message; a length in the next two bytes, or in eight.
_TEXT, _SHORT, _LONG = 0x81, 126, 127


class BoundedWebSocket(WebSocketsSansIOProtocol):
    """Answers bad handshakes, bounds messages, and lets the application abort a client that does not read."""

    gone: Callable[[], None] | None = None

    def connection_lost(self, exc: Exception | None) -> None:
        if isinstance(self.transport, ClosingTransport):
            self.transport.connection_lost()
        super().connection_lost(exc)
        if self.gone is not None:
            self.gone()

    def eof_received(self) -> None:
        # The event loop would close the inner transport, without the timer that aborts it.
        self.transport.close()

    def data_received(self, data: bytes) -> None:
        if self.handshake_initiated:
            super().data_received(data)
        else:
            self._handshake(data)

    def write_text(self, text: bytes) -> bool:
        """Writes a text message if the socket is writable; returns whether it did."""
        if not self.can_write() or self.conn.state is not State.OPEN or self.close_sent or self.disconnected:
            return False
        length = len(text)
        if length < _SHORT:
            head = bytes((_TEXT, length))
        elif length < 1 << 16:
            head = bytes((_TEXT, _SHORT)) + length.to_bytes(2, "big")
        else:
            head = bytes((_TEXT, _LONG)) + length.to_bytes(8, "big")
        self.transport.write(head + text)
        return True

    def can_write(self) -> bool:
        return self.writable.is_set()

    def _handshake(self, data: bytes) -> None:
        """`data`: exactly the head of the request, as assembled by the HTTP protocol."""
        super().data_received(data)
        if not self.handshake_initiated:
            # The head was complete, but the library did not accept it as a handshake.
            too_much = isinstance(self.conn.handshake_exc, SecurityError)
            self._refuse(LARGE_HEADERS if too_much else NO_HANDSHAKE)

    def handle_connect(self, event: Request) -> None:
        status = self.conn.accept(event).status_code
        if status != HTTPStatus.SWITCHING_PROTOCOLS:
            self._refuse(
                NOT_WITH_GET if status == HTTPStatus.METHOD_NOT_ALLOWED else NO_HANDSHAKE, event.path.partition("?")[0]
            )
            return
        super().handle_connect(event)
        scope = cast(dict[str, object], self.scope)
        scope[ABORT] = self.transport.abort
        scope[CAN_WRITE] = self.can_write
        scope[TEXT] = self.write_text

    def handle_cont(self, event: Frame) -> None:
        if self.close_sent:
            # From the same packet, after the close: no one waits for the message.
            return
        if len(self.frames) >= MOST_FRAGMENTS:
            self.frames = []
            self.conn.fail(CloseCode.MESSAGE_TOO_BIG, "too many fragments")
            self.handle_parser_exception()
            return
        super().handle_cont(event)

    def send_receive_event_to_app(self) -> None:
        if self.curr_msg_data_type == "text" and not self.close_sent:
            self.frames = [b"".join(self.frames)]
            try:
                self.frames[0].decode()
            except UnicodeDecodeError:
                # uvicorn would log a stack trace for each, and so a client could fill the log.
                self.frames = []
                self.conn.fail(CloseCode.INVALID_DATA, "invalid UTF-8")
                self.handle_parser_exception()
                return
        super().send_receive_event_to_app()

    async def send(self, message: ASGISendEvent) -> None:
        if message["type"] == "websocket.http.response.start":
            # uvicorn adds the default headers only to HTTP responses and to handshakes that succeed.
            message["headers"] = [*self.default_headers, *message.get("headers", [])]
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and self.close_sent:
            # The handshake was refused with a response; uvicorn would log an application error for each.
            self.handshake_complete = True

    def _refuse(self, refusal: Refusal, instance: str = "") -> None:
        self.handshake_initiated = self.handshake_complete = self.close_sent = True
        self.transport.write(written(refusal, self.default_headers, instance))
        self.transport.close()
