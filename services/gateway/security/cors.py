"""CORS: which other origins may use the gateway from a browser. None, unless the settings name them.

Access tokens travel in a header, so a browser adds no credentials to requests of a page that is not allowed. The
cookies (routes/accounts/browser_sessions.py) hold the refresh token and the device token of the gateway's own page.
With `SameSite=Strict`, browsers do not send them for another site's page. No page of another origin is allowed with
cookies, whatever the settings: `Access-Control-Allow-Credentials` is never sent.
"""

from collections.abc import Mapping
from typing import Self

from starlette.datastructures import Headers

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
_ANY = "*"
_ORIGIN = "Origin"


class Cors:
    def __init__(self, origins: frozenset[str]) -> None:
        self._origins = origins

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """`https://app.example.org,https://…`, or `*` for all; None if the text is empty."""
        origins = frozenset(part.strip().rstrip("/").lower() for part in text.split(",") if part.strip())
        return cls(origins) if origins else None

    def allows(self, origin: str) -> bool:
        return _ANY in self._origins or origin.lower() in self._origins

    def preflight(self, headers: Headers, methods: str) -> Mapping[str, str] | None:
        """Response headers for a preflight request; None if it is not one or its origin is not allowed."""
        origin = headers.get("origin")
        if origin is None or "access-control-request-method" not in headers or not self.allows(origin):
            return None
        return {
            "access-control-allow-methods": methods,
            "access-control-allow-headers": ", ".join(_REQUEST_HEADERS),
            "access-control-max-age": str(_SECONDS),
        }

    def add(self, request: Headers, response: dict[str, str]) -> None:
        """Adds the CORS headers to a response, whose header names are in lower case."""
        varies = response.get("vary")
        response["vary"] = f"{varies}, {_ORIGIN}" if varies else _ORIGIN
        origin = request.get("origin")
        if origin is not None and self.allows(origin):
            response["access-control-allow-origin"] = _ANY if _ANY in self._origins else origin
            response["access-control-expose-headers"] = ", ".join(_RESPONSE_HEADERS)
