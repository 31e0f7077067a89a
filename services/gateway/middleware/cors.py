"""CORS: which other origins may use the gateway from a browser. None, unless the settings name them.

Access tokens travel in a header, so a browser adds no credentials to requests of a page that is not allowed. The
cookies (routes/accounts/browser_sessions.py) hold the refresh token and the device token of the gateway's own page.
With `SameSite=Strict`, browsers do not send them for another site's page. No page of another origin is allowed with
cookies, whatever the settings: `Access-Control-Allow-Credentials` is never sent.
"""

from functools import partial

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.gateway.http import problems
from services.gateway.http.request_headers import request_headers
from services.gateway.http.response import WholeResponse
from services.gateway.http.route_index import PathRoutes, RouteIndex
from services.gateway.http.scope_extensions import ANSWER
from services.gateway.security.origins import AllowedOrigins
from services.gateway.static.files import WebFiles

# Allowed request headers, besides the CORS-safelisted ones.
_REQUEST_HEADERS = (
    "Authorization",
    "Content-Type",
    "If-Match",
    "If-None-Match",
    "Last-Event-ID",
    "Vestnik-Position",
    "X-Request-Id",
    "traceparent",
)
# Exposed response headers, besides the CORS-safelisted ones.
_RESPONSE_HEADERS = (
    "ETag",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "Vestnik-Device-Token",
    "Vestnik-Position",
    "WWW-Authenticate",
    "X-Request-Id",
)
_SECONDS = 600
_NO_HEADERS = Headers()


class GatewayCors(CORSMiddleware):
    """Starlette's middleware, but a preflight depends on its path, and every error is a problem document.

    Starlette answers each preflight itself: with 200 for a path that does not exist, with all methods of the
    application, and with a plain text if the origin is not allowed. Here a preflight of an allowed origin for a path of
    the API has 204 and the path's methods; every other request goes on to the routes, which answer with 404 or 405.
    """

    def __init__(self, app: ASGIApp, origins: AllowedOrigins, routes: RouteIndex) -> None:
        super().__init__(app, allow_origins=origins.values, expose_headers=_RESPONSE_HEADERS)
        self._origins = origins
        self._routes = routes

    def is_allowed_origin(self, origin: str) -> bool:
        return origin in self._origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        # The headers are added to what passes through `send`.
        scope[ANSWER] = None
        headers = request_headers(scope)
        origin = headers.get("origin")
        if origin is None or not self.is_allowed_origin(origin):
            await self.app(scope, receive, partial(self._send, scope, send, _NO_HEADERS))
            return
        app = self.app
        if scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
            app = self._preflight(scope) or app
        await app(scope, receive, partial(self._send, scope, send, headers))

    async def _send(self, scope: Scope, send: Send, request_headers: Headers, message: Message) -> None:
        if isinstance(scope.get("route"), WebFiles):
            # Files of the gateway's own pages are for no other origin.
            await send(message)
        else:
            await self.send(message, send, request_headers)

    def _preflight(self, scope: Scope) -> WholeResponse | None:
        """The response to a preflight; None if the path does not exist."""
        match, child_scope = self._routes.matches(scope)
        if match is not Match.PARTIAL:
            return None
        scope.update(child_scope)
        routes: PathRoutes = scope["route"]
        return WholeResponse(
            b"",
            204,
            {
                "access-control-allow-methods": routes.allow,
                "access-control-allow-headers": ", ".join(_REQUEST_HEADERS),
                "access-control-max-age": str(_SECONDS),
                **problems.NOTHING_TO_RUN,
                "cache-control": "no-store",
            },
        )
