"""Limits of a gRPC server's connections: their number, time until the greeting, frames, and memory of each."""

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Callable, Collection
from functools import partial
from typing import Any, cast

from grpclib.config import Configuration
from grpclib.protocol import EventsProcessor, H2Protocol, Stream
from grpclib.server import Handler, Server
from h2.connection import ConnectionState
from h2.errors import ErrorCodes
from h2.events import DataReceived, StreamReset, UnknownFrameReceived
from h2.utilities import SizeLimitDict

from infra.rpc.transport.frame_limits import ExcessiveFrames, FrameLimits

log = logging.getLogger(__name__)

# Each replica of a caller opens one connection per channel; probes open short-lived ones.
MOST_CONNECTIONS = 512
# HTTP/2 flow control windows, in bytes: of a call, and of a connection.
_CALL_WINDOW = 1024 * 1024 + 65_536
_CONNECTION_WINDOW = 4 * 1024 * 1024
# Seconds after which a connection is closed if it has not begun to speak HTTP/2, its TLS handshake is not complete, or
# it does not read what is still to be sent before the close.
GREETING_SECONDS = 10.0
# Calls in flight on one connection to methods without credential (health, reflection), and bytes that each may send.
MOST_PUBLIC_CALLS = 16
LARGEST_PUBLIC_CALL = 16 * 1024
# Ended streams of a connection that are remembered, to tell late frames from invalid ones.
_MOST_ENDED_STREAMS = 4_096

BOUNDS = Configuration(
    http2_connection_window_size=_CONNECTION_WINDOW,
    http2_stream_window_size=_CALL_WINDOW,
)
# The HTTP/2 preface and the header of the frame that follows it.
_GREETING_BYTES = 24 + 9


class BoundedServer(Server):
    """grpclib's server with limits on its connections."""

    def __init__(self, *args: object, guarded: Collection[str], **kwargs: object) -> None:
        """`guarded`: the methods that need a credential; calls of others are limited per connection."""
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]  # passed through
        self.guarded = frozenset(guarded)
        self.connections: set[_Bounded] = set()

    async def listen(self, host: str, port: int, *, shared: bool, tls: ssl.SSLContext | None) -> None:
        """Like the library's `start`, with a time limit on TLS handshakes."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            self._protocol_factory,
            host,
            port,
            ssl=tls,
            reuse_port=shared,
            ssl_handshake_timeout=GREETING_SECONDS if tls else None,
        )
        self._server_closed_fut = loop.create_future()

    def _protocol_factory(self) -> H2Protocol:
        self.__gc_step__()
        handler = _Handler(self._mapping, self._codec, self._status_details_codec, self.__dispatch__)
        handler.guarded = self.guarded
        # The library would register the handler here, and keep it forever after a failed TLS handshake.
        return _Bounded(handler, self)

    def admit(self, connection: "_Bounded", handler: Handler) -> None:
        self.connections.add(connection)
        self._handlers.add(handler)


class _Handler(Handler):
    """Runs the calls of one connection and drops all state of finished ones."""

    guarded: frozenset[str] = frozenset()

    def __init__(self, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]  # passed through
        # Calls in flight that need no credential.
        self.public: set[Stream] = set()

    def accept(self, stream: Stream, headers: list[tuple[str, str]], release_stream: Callable[[], Any]) -> None:
        if dict(headers).get(":path") not in self.guarded:
            if len(self.public) >= MOST_PUBLIC_CALLS:
                stream.reset_nowait(ErrorCodes.REFUSED_STREAM)
                release_stream()
                return
            self.public.add(stream)
        super().accept(stream, headers, release_stream)
        self._tasks[stream].add_done_callback(partial(self._ended, stream, release_stream))

    def cancel(self, stream: Stream) -> None:
        if stream in self._tasks:
            super().cancel(stream)

    def _ended(self, stream: Stream, release_stream: Callable[[], Any], task: "asyncio.Task[None]") -> None:
        self._tasks.pop(stream, None)
        self._cancelled.discard(task)
        self.public.discard(stream)
        if task.cancelled():
            # If it was cancelled before it began, it has not released its stream, which would be kept forever.
            with contextlib.suppress(KeyError):
                release_stream()


class _Processor(EventsProcessor):
    """Dispatches events to calls, and counts the streams that this side resets because of the caller's errors."""

    def __init__(self, handler: _Handler, protocol: "_Bounded") -> None:
        super().__init__(handler, protocol.connection)
        self._public = handler.public
        self._limits = protocol.limits
        self.processors[UnknownFrameReceived] = _ignore

    def process_stream_reset(self, event: StreamReset) -> None:
        super().process_stream_reset(event)
        if not event.remote_reset:
            self._limits.reset_by_us()

    def process_data_received(self, event: DataReceived) -> None:
        super().process_data_received(event)
        stream = self.streams.get(event.stream_id)
        if stream is not None and stream in self._public and stream.data_received > LARGEST_PUBLIC_CALL:
            if stream.closable:
                stream.reset_nowait(ErrorCodes.ENHANCE_YOUR_CALM)
            stream.__terminated__("The call sent too much.")
            self._public.discard(stream)
            self.handler.cancel(stream)
            self._limits.reset_by_us()


def _ignore(event: UnknownFrameReceived) -> None:
    """Ignores frames of unknown types (RFC 9113, 5.5)."""


class _Bounded(H2Protocol):
    def __init__(self, handler: _Handler, server: BoundedServer) -> None:
        super().__init__(handler, server._config, server._h2_config)
        self._calls = handler
        self._server = server
        self._admitted = False
        self._received = 0
        self._greeting: asyncio.TimerHandle | None = None
        self._closing: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None
        self.limits = FrameLimits()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if len(self._server.connections) >= MOST_CONNECTIONS:
            self._transport.abort()
            return
        self._server.admit(self, self._calls)
        self._admitted = True
        super().connection_made(transport)
        self.connection._connection._closed_streams = SizeLimitDict(size_limit=_MOST_ENDED_STREAMS)
        self.processor = _Processor(self._calls, self)
        loop = asyncio.get_running_loop()
        self._greeting = loop.call_later(GREETING_SECONDS, self._transport.abort)

    def data_received(self, data: bytes) -> None:
        if not self._admitted or self._closing is not None:
            return
        if self._greeting is not None:
            self._received += len(data)
            if self._received >= _GREETING_BYTES:
                self._greeted()
        try:
            self.limits.check(data, self.connection.data_sent)
            super().data_received(data)
        except ExcessiveFrames as excess:
            self._refuse(excess)

    def pause_writing(self) -> None:
        """Stops reading from a caller that does not read: each frame may need an answer that waits in memory."""
        if self._admitted:
            super().pause_writing()
            self._read(False)

    def resume_writing(self) -> None:
        if self._admitted:
            super().resume_writing()
            self._read(True)

    def _read(self, enabled: bool) -> None:
        transport = self._transport
        if transport is None or transport.is_closing() or transport.is_reading() == enabled:
            return
        if enabled:
            transport.resume_reading()
        else:
            transport.pause_reading()

    def connection_lost(self, exc: BaseException | None) -> None:
        if not self._admitted:
            return
        self._admitted = False
        self._server.connections.discard(self)
        self._greeted()
        if self._closing is not None:
            self._closing.cancel()
        self._transport = None
        super().connection_lost(exc)

    def _refuse(self, excess: ExcessiveFrames) -> None:
        """Sends the reason, ends every call of the connection, and closes it."""
        assert self._transport is not None
        log.warning("closing the connection of %s: %s", self._transport.get_extra_info("peername"), excess)
        # Closing waits until the caller has read the pending answers; this limits the wait.
        self._closing = asyncio.get_running_loop().call_later(GREETING_SECONDS, self._transport.abort)
        library = self.connection._connection
        if library.state_machine.state is not ConnectionState.CLOSED:
            library.close_connection(error_code=excess.code, additional_data=str(excess).encode())
        self.connection.flush()
        self.processor.close(str(excess))

    def _greeted(self) -> None:
        if self._greeting is not None:
            self._greeting.cancel()
            self._greeting = None
