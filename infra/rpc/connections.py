"""The connections of a gRPC server: only so many, none without end that says nothing, and little memory for each."""

import asyncio
from typing import cast

from grpclib.config import Configuration
from grpclib.protocol import H2Protocol
from grpclib.server import Server

# Each caller has one for each of its replicas' channels; probes come and go.
MOST_CONNECTIONS = 512
# Bytes that a caller may send before somebody reads them: of a call, and of a connection.
_CALL_WINDOW = 1024 * 1024 + 65_536
_CONNECTION_WINDOW = 4 * 1024 * 1024
# A connection that has not begun to speak HTTP/2 within so many seconds is closed.
GREETING_SECONDS = 10.0

BOUNDS = Configuration(
    http2_connection_window_size=_CONNECTION_WINDOW,
    http2_stream_window_size=_CALL_WINDOW,
)
# HTTP/2's preface and the head of the frame that follows it.
_GREETING_BYTES = 24 + 9


class BoundedServer(Server):
    """The library's server, with bounds on its connections."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]  # passed through
        self.open = 0

    def _protocol_factory(self) -> H2Protocol:
        made = super()._protocol_factory()
        return _Bounded(made, self)


class _Bounded(H2Protocol):
    def __init__(self, made: H2Protocol, server: BoundedServer) -> None:
        super().__init__(made.handler, made.config, made.h2_config)
        self._server = server
        self._admitted = False
        self._heard = 0
        self._greeting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if self._server.open >= MOST_CONNECTIONS:
            cast(asyncio.Transport, transport).abort()
            # Or the server would keep it for ever.
            self.handler.close()
            return
        self._server.open += 1
        self._admitted = True
        super().connection_made(transport)
        loop = asyncio.get_running_loop()
        self._greeting = loop.call_later(GREETING_SECONDS, cast(asyncio.Transport, transport).abort)

    def data_received(self, data: bytes) -> None:
        if not self._admitted:
            return
        self._heard += len(data)
        if self._heard >= _GREETING_BYTES:
            self._greeted()
        super().data_received(data)

    def pause_writing(self) -> None:
        if self._admitted:
            super().pause_writing()

    def resume_writing(self) -> None:
        if self._admitted:
            super().resume_writing()

    def connection_lost(self, exc: BaseException | None) -> None:
        if not self._admitted:
            return
        self._admitted = False
        self._server.open -= 1
        self._greeted()
        super().connection_lost(exc)

    def _greeted(self) -> None:
        if self._greeting is not None:
            self._greeting.cancel()
            self._greeting = None
