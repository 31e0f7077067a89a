"""`GET /metrics` for Prometheus, in every Vestnik process.

A minimal HTTP server, since four of the six services speak no HTTP otherwise: one request per connection, a bounded
head size and time, at most 16 connections at once. It is meant for the operators' network and listens on the loopback
address by default.
"""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from prometheus_client import REGISTRY
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from infra.operator_errors import OperatorError
from infra.runtime.sockets import open_listener
from infra.settings import Settings, split_address

log = logging.getLogger(__name__)
_LONGEST_HEAD = 8 * 1024
_SECONDS = 5.0
_CONNECTIONS = 16
# Offset from a service's gRPC port to its metrics port, if no address is configured.
BESIDE = 1_000
_HIGHEST_PORT = 65_535
_LOOPBACK = "127.0.0.1"

Exposition = Callable[[], bytes]


class MetricsAddressInUse(OperatorError):
    """The process cannot listen on the configured metrics address."""

    def __init__(self, address: str, error: OSError) -> None:
        super().__init__(f"VESTNIK_METRICS_LISTEN={address} cannot be listened on: {error.strerror or error}")


def exposition() -> bytes:
    """All metrics of the process in the Prometheus text format."""
    return generate_latest(REGISTRY)


@asynccontextmanager
async def metrics_endpoint(settings: Settings, port: int, figures: Exposition = exposition) -> AsyncIterator[None]:
    """Serves the metrics until the context is left.

    `port`: the process's own port; without a configured address the metrics port is `BESIDE` above it, and the metrics
    are skipped if that port cannot be used.

    Raises:
        MetricsAddressInUse: the configured address is in use or not local.
    """
    listener = _listener(settings, port)
    if listener is None:
        yield
        return
    endpoint = _Endpoint(figures)
    server = await asyncio.start_server(endpoint.answer, sock=listener, limit=_LONGEST_HEAD)
    log.info("metrics at http://%s:%d/metrics", *listener.getsockname()[:2])
    try:
        yield
    finally:
        server.close()
        endpoint.close()
        await server.wait_closed()


def _listener(settings: Settings, port: int) -> socket.socket | None:
    if settings.metrics_listen == "off":
        return None
    if settings.metrics_listen:
        try:
            return open_listener(*split_address(settings.metrics_listen), shared=settings.listen_shared == "on")
        except OSError as error:
            raise MetricsAddressInUse(settings.metrics_listen, error) from error
    beside = port + BESIDE
    try:
        if beside <= _HIGHEST_PORT:
            return open_listener(_LOOPBACK, beside, shared=False)
    except OSError as error:
        log.warning("no metrics: port %d is not to be had: %s", beside, error.strerror or error)
    # This port was not configured explicitly: serve without metrics.
    return None


class _Endpoint:
    def __init__(self, figures: Exposition) -> None:
        self._figures = figures
        self._connections: set[asyncio.StreamWriter] = set()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(writer)
        try:
            if len(self._connections) <= _CONNECTIONS:
                async with asyncio.timeout(_SECONDS):
                    writer.write(self._answer(await reader.readuntil(b"\r\n\r\n")))
                    await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # a broken or slow request gets no response
        finally:
            self._connections.discard(writer)
            writer.close()

    def close(self) -> None:
        """Aborts open connections: a client that is waiting for a response sees the connection lost."""
        for writer in self._connections:
            writer.transport.abort()

    def _answer(self, head: bytes) -> bytes:
        method, _, rest = head.partition(b" ")
        target = rest.partition(b" ")[0].partition(b"?")[0]
        if target != b"/metrics":
            return _response("404 Not Found", b"")
        if method not in (b"GET", b"HEAD"):
            return _response("405 Method Not Allowed", b"", "Allow: GET, HEAD")
        body = self._figures()
        answer = _response("200 OK", body)
        return answer if method == b"GET" else answer[: -len(body)]


def _response(status: str, body: bytes, *headers: str) -> bytes:
    lines = (
        f"HTTP/1.1 {status}",
        f"Content-Type: {CONTENT_TYPE_LATEST}",
        f"Content-Length: {len(body)}",
        "Connection: close",
        *headers,
        "\r\n",
    )
    return "\r\n".join(lines).encode() + body
