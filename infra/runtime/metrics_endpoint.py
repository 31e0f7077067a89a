"""`GET /metrics` for Prometheus, and `GET /livez` and `GET /readyz` for probes, in every Vestnik process.

`/livez` answers 200 while the process's event loop turns, whatever NATS, PostgreSQL and the other services do: a
restart would not bring those back. `/readyz` of a service answers as its gRPC health check does, for probes that can
present no certificate; the gateway has its own at its own port. The endpoint starts before the process connects to
anything.

It runs in the process's event loop, where collectors may read what the loop changes. A connection carries one request
and is aborted after 5 s; at most 16 are open. The endpoint is meant for the operators' network and listens on the
loopback address by default.
"""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import REGISTRY
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from contracts.services import BESIDE, LOOPBACK
from infra.operator_errors import OperatorError
from infra.runtime.sockets import open_listener
from infra.settings import Settings, split_address

log = logging.getLogger(__name__)
_SECONDS = 5.0
_CONNECTIONS = 16
_HIGHEST_PORT = 65_535

Exposition = Callable[[], bytes]
Condition = Callable[[], bool]


class MetricsAddressInUse(OperatorError):
    """The process cannot listen on the configured metrics address."""

    def __init__(self, address: str, error: OSError) -> None:
        super().__init__(f"VESTNIK_METRICS_LISTEN={address} cannot be used: {error.strerror or error}")


def exposition() -> bytes:
    """All metrics of the process in the Prometheus text format."""
    return generate_latest(REGISTRY)


@asynccontextmanager
async def metrics_endpoint(
    settings: Settings, port: int, figures: Exposition = exposition, *, ready: Condition | None = None
) -> AsyncIterator[None]:
    """Serves metrics, liveness and, if there is a condition for it, readiness until the context is left.

    `port`: the process's own port; without a configured address the metrics port is `BESIDE` above it, and the endpoint
    is left out if that port cannot be used.

    Raises:
        MetricsAddressInUse: the configured address is in use or not local.
    """
    listener = _listener(settings, port)
    if listener is None:
        yield
        return

    async def respond(request: web.BaseRequest) -> web.Response:
        if request.path not in ("/metrics", "/livez") and (request.path != "/readyz" or ready is None):
            raise web.HTTPNotFound
        if request.method not in ("GET", "HEAD"):
            raise web.HTTPMethodNotAllowed(request.method, ("GET", "HEAD"))
        if request.path == "/livez":
            response = web.Response(text="live")
        elif request.path == "/readyz" and ready is not None:
            response = web.Response(text="ready") if ready() else web.Response(status=503, text="not ready")
        else:
            response = web.Response(body=figures(), headers={"Content-Type": CONTENT_TYPE_LATEST})
        response.force_close()
        return response

    runner = web.ServerRunner(_BoundedServer(respond, access_log=None), shutdown_timeout=_SECONDS)
    await runner.setup()
    await web.SockSite(runner, listener).start()
    log.info("metrics at http://%s:%d/metrics", *listener.getsockname()[:2])
    try:
        yield
    finally:
        await runner.cleanup()


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
            return open_listener(LOOPBACK, beside, shared=False)
    except OSError as error:
        log.warning("no metrics: port %d is unavailable: %s", beside, error.strerror or error)
    # This port was not configured explicitly: serve without metrics.
    return None


class _BoundedServer(web.Server):
    """aiohttp's server with bounds on the number of connections and on their duration."""

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        if len(self.connections) > _CONNECTIONS:
            transport.abort()
        else:
            asyncio.get_running_loop().call_later(_SECONDS, transport.abort)
