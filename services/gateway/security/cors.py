"""Which web pages of other origins may use the gateway from a browser (CORS): none, unless the settings name them.

Access tokens travel in a header, so a page that was not let in can do nothing that its visitor's browser would add
anything to. The cookies (routes/browser.py) hold the refresh token and the device token of the gateway's own page:
another site's page gets no browser to send them (`SameSite=Strict`), and no page of another origin is let in with
cookies, whatever the settings say, since `Access-Control-Allow-Credentials` is never sent.
"""

from collections.abc import Mapping
from typing import Self

from starlette.datastructures import Headers

# What a page may send, besides what it may send anyway.
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
# What a page may read, besides what it may read anyway.
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
        """`https://app.example.org,https://…`, or `*` for all; None where the text is empty."""
        origins = frozenset(part.strip().rstrip("/").lower() for part in text.split(",") if part.strip())
        return cls(origins) if origins else None

    def allows(self, origin: str) -> bool:
        return _ANY in self._origins or origin.lower() in self._origins

    def preflight(self, headers: Headers, methods: str) -> Mapping[str, str] | None:
        """The headers that answer a browser's question before a request; None where it is none, or is not let in."""
        origin = headers.get("origin")
        if origin is None or "access-control-request-method" not in headers or not self.allows(origin):
            return None
        return {
            "access-control-allow-methods": methods,
            "access-control-allow-headers": ", ".join(_REQUEST_HEADERS),
            "access-control-max-age": str(_SECONDS),
        }

    def add(self, request: Headers, response: dict[str, str]) -> None:
        """Says in an answer that the page which asked may read it; the names of its headers are in lower case."""
        varies = response.get("vary")
        response["vary"] = f"{varies}, {_ORIGIN}" if varies else _ORIGIN
        origin = request.get("origin")
        if origin is not None and self.allows(origin):
            response["access-control-allow-origin"] = _ANY if _ANY in self._origins else origin
            response["access-control-expose-headers"] = ", ".join(_RESPONSE_HEADERS)
