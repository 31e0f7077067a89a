"""Serves the application: the listening socket, uvicorn within our limits, and a graceful stop."""

import asyncio
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

from infra.settings import Settings
from services.gateway.http.request_body import LARGEST
from services.gateway.server.connection_limits import ConnectionLimiter
from services.gateway.server.http_protocol import BoundedProtocol
from services.gateway.server.new_connections import stop_listening
from services.gateway.server.websocket_protocol import BoundedWebSocket

_BACKLOG = 1024
_KEEP_ALIVE_SECONDS = 75
_PING_SECONDS = 20.0


# On every response, also those of the protocol layer. Routes set their own content security policy.
SECURITY_HEADERS = (
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-resource-policy", "same-origin"),
)


class _Server(uvicorn.Server):
    """uvicorn's server without signal handlers: the process handles its signals elsewhere."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def listening_socket(settings: Settings) -> socket.socket:
    """The inherited socket, else one on the host and port of the settings.

    Raises:
        OSError: the address is in use or does not belong to this host.
    """
    if settings.listen_fd >= 0:
        return socket.socket(fileno=settings.listen_fd)
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    return socket.create_server((settings.host, settings.port), family=family, backlog=_BACKLOG, reuse_port=False)


def security_headers(settings: Settings) -> Sequence[tuple[str, str]]:
    """The security headers of every response, with HSTS if the settings enable it."""
    if not settings.hsts_seconds:
        return SECURITY_HEADERS
    return (*SECURITY_HEADERS, ("strict-transport-security", f"max-age={settings.hsts_seconds}; includeSubDomains"))


async def serve(
    app: ASGIApp,
    sock: socket.socket,
    stop: asyncio.Event,
    *,
    drain_seconds: float,
    delay_seconds: float = 0.0,
    is_inherited: bool = False,
    leaving: Callable[[], None] = lambda: None,
    ending: Callable[[], None] = lambda: None,
    headers: Sequence[tuple[str, str]] = SECURITY_HEADERS,
    admission: ConnectionLimiter | None = None,
) -> None:
    """Serves until `stop` is set and a delay has passed; then accepts no more connections and lets requests finish.

    `drain_seconds`: limit for the running requests.
    `delay_seconds`: how long requests are accepted after the stop; each answer then closes its connection.
    `is_inherited`: another process keeps the socket open, and with it the connections that were not accepted.
    `leaving`: called at the stop. `ending`: called after the delay, to end open-ended responses.
    `headers`: on every response. `admission`: limits on connections; none by default.
    """
    admitting = admission or ConnectionLimiter(most=sys.maxsize, most_of_one=0)
    protocol: type[BoundedProtocol] = type("ServingProtocol", (BoundedProtocol,), {"admission": admitting})
    config = uvicorn.Config(
        app,
        http=protocol,
        ws=BoundedWebSocket,
        ws_max_size=LARGEST,
        ws_ping_interval=_PING_SECONDS,
        ws_ping_timeout=_PING_SECONDS,
        # A compressor per connection costs more memory than the rest of the connection.
        ws_per_message_deflate=False,
        headers=list(headers),
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=_BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=max(1, round(drain_seconds)),
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[sock]))
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
        leaving()
        protocol.leaving = True
        await asyncio.wait((serving,), timeout=delay_seconds)
        if not is_inherited and not serving.done():
            await stop_listening(sock, server.servers)
    finally:
        ending()
        server.should_exit = True
        stopping.cancel()
        await serving
