"""`GET /metrics` for Prometheus, in every process of ours.

A few lines of HTTP, since four of the six services speak no other: one request a connection, its head bounded in size
and time, a handful of connections at once. It is meant for the operators' network and listens on the loopback by
default.
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
# Between a service's gRPC port and that of its metrics, where no address is given.
BESIDE = 1_000
_HIGHEST_PORT = 65_535
_LOOPBACK = "127.0.0.1"

Exposition = Callable[[], bytes]


class MetricsAddressInUse(OperatorError):
    """The address given for the metrics cannot be listened on."""

    def __init__(self, address: str, error: OSError) -> None:
        super().__init__(f"VESTNIK_METRICS_LISTEN={address} cannot be listened on: {error.strerror or error}")


def exposition() -> bytes:
    """All figures of the process in the text format of Prometheus."""
    return generate_latest(REGISTRY)


@asynccontextmanager
async def metrics_endpoint(settings: Settings, port: int, figures: Exposition = exposition) -> AsyncIterator[None]:
    """Serves the figures until it is left.

    `port`: the process's own, beside which the metrics have theirs, where no address is given.

    Raises:
        MetricsAddressInUse: the address given is in use, or not ours.
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
    # Nobody has asked for this very port: no reason not to serve.
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
            pass  # whoever asks like that gets no answer
        finally:
            self._connections.discard(writer)
            writer.close()

    def close(self) -> None:
        """Ends what is open: whoever waits for the rest of a request finds the connection lost."""
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
