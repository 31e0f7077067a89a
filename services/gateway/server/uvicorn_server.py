"""Serving the application: the listening socket, uvicorn within our bounds, a stop that finishes what runs."""

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
from services.gateway.server.websocket_protocol import BoundedWebSocket

_BACKLOG = 1024
_KEEP_ALIVE_SECONDS = 75
_PING_SECONDS = 20.0


# On every answer, also those of the wire itself. A policy of contents is the routes' own to set.
SECURITY_HEADERS = (
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-resource-policy", "same-origin"),
)


class _Server(uvicorn.Server):
    """The process has one owner of its signals, and it is not this server."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def listening_socket(settings: Settings) -> socket.socket:
    """The inherited socket, else one on the host and port of the settings.

    Raises:
        OSError: the address is in use or not ours.
    """
    if settings.listen_fd >= 0:
        return socket.socket(fileno=settings.listen_fd)
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    return socket.create_server((settings.host, settings.port), family=family, backlog=_BACKLOG, reuse_port=False)


def security_headers(settings: Settings) -> Sequence[tuple[str, str]]:
    """Those of every answer, with the promise of TLS where the settings make it."""
    if not settings.hsts_seconds:
        return SECURITY_HEADERS
    return (*SECURITY_HEADERS, ("strict-transport-security", f"max-age={settings.hsts_seconds}; includeSubDomains"))


async def serve(
    app: ASGIApp,
    sock: socket.socket,
    stop: asyncio.Event,
    *,
    drain_seconds: float,
    ending: Callable[[], None] = lambda: None,
    headers: Sequence[tuple[str, str]] = SECURITY_HEADERS,
    admission: ConnectionLimiter | None = None,
) -> None:
    """Serves until `stop` is set; then takes no more connections and finishes the requests at work, so long at most.

    `ending`: called at the stop, to end the responses that have no end of their own.
    `headers`: on every answer. `admission`: which connections are taken; without it as many as come.
    """
    admitting = admission or ConnectionLimiter(most=sys.maxsize, most_of_one=0)
    protocol = type("AdmittingProtocol", (BoundedProtocol,), {"admission": admitting})
    config = uvicorn.Config(
        app,
        http=protocol,
        ws=BoundedWebSocket,
        ws_max_size=LARGEST,
        ws_ping_interval=_PING_SECONDS,
        ws_ping_timeout=_PING_SECONDS,
        # A compressor a connection costs more memory than all the rest of it.
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
    finally:
        ending()
        server.should_exit = True
        stopping.cancel()
        await serving
