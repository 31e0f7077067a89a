"""The gateway as a Starlette application."""

from collections.abc import Iterable

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import BaseRoute, WebSocketRoute
from starlette.types import Lifespan, Receive, Scope, Send

from services.gateway.context import GatewayContext
from services.gateway.http.endpoint import AnyEndpoint
from services.gateway.http.endpoint_route import EndpointRoute
from services.gateway.http.route_index import RouteIndex
from services.gateway.middleware.cors import GatewayCors
from services.gateway.middleware.direct_dispatch import DirectDispatch
from services.gateway.middleware.exception_handlers import HANDLERS
from services.gateway.middleware.request_tracking import RequestTracking
from services.gateway.routes.live.websocket import PATH, WebSockets
from services.gateway.security.origins import AllowedOrigins


def create_app(
    endpoints: Iterable[AnyEndpoint],
    context: GatewayContext,
    *,
    files: BaseRoute | None = None,
    lifespan: Lifespan[Starlette] | None = None,
) -> Starlette:
    """The application that serves the endpoints; `app.state.context` is the context.

    `files`: a route that is tried after the API, as for the web messenger's files.
    `lifespan`: runs while requests are served.
    """
    index = RouteIndex([EndpointRoute(endpoint, context) for endpoint in endpoints])
    origins = AllowedOrigins.parse(context.settings.cors_origins)
    app = Starlette(
        routes=[
            index,
            WebSocketRoute(PATH, WebSockets(index.routes, context)),
            *([files] if files is not None else []),
        ],
        middleware=[
            Middleware(RequestTracking, context.metrics),
            *([Middleware(GatewayCors, origins, index)] if origins else []),
        ],
        exception_handlers=HANDLERS,
        lifespan=lifespan,
    )
    # A path with a slash too many is not found.
    app.router.redirect_slashes = False
    app.router.default = _not_found
    app.state.context = context
    if not origins:
        app.middleware_stack = DirectDispatch(app.build_middleware_stack(), index, context.metrics)
    return app


async def _not_found(scope: Scope, receive: Receive, send: Send) -> None:
    """Refuses requests and WebSocket handshakes alike; Starlette's closes the latter without a problem document."""
    raise HTTPException(404)
