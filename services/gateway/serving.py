"""Serving the application: the listening socket, uvicorn within our bounds, a stop that finishes what runs."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

from infra.settings import Settings
from services.gateway.wire import BoundedProtocol

_BACKLOG = 1024
_KEEP_ALIVE_SECONDS = 75


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


async def serve(app: ASGIApp, sock: socket.socket, stop: asyncio.Event, *, drain_seconds: float) -> None:
    """Serves until `stop` is set; then takes no more connections and finishes the requests at work, so long at most."""
    config = uvicorn.Config(
        app,
        http=BoundedProtocol,
        ws="none",
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
        server.should_exit = True
        stopping.cancel()
        await serving
