"""The headers of the public interface, as the OpenAPI document describes them."""

from typing import Any

_TEXT = {"type": "string"}
_POSITION = {"type": "string", "maxLength": 512}

REQUEST_HEADERS: dict[str, dict[str, Any]] = {
    "X-Request-Id": {
        "description": "The request's id; accepted if it has 1 to 128 characters of `A-Z a-z 0-9 . _ -`.",
        "schema": _TEXT,
    },
    "traceparent": {"description": "W3C Trace Context.", "schema": _TEXT},
    "Vestnik-Position": {
        "description": "A position from an earlier response: the read reflects at least that position.",
        "schema": _POSITION,
    },
    "Last-Event-ID": {
        "description": "The `id` of the last event received; takes precedence over `since`.",
        "schema": _POSITION,
    },
    "Accept-Language": {
        "description": "The languages that the client prefers (RFC 9110), if the body does not name one.",
        "schema": _TEXT,
    },
    "Vestnik-Unattended": {
        "description": "From a page that asks by itself while nobody touches it: the request does not keep an "
        "operator's login alive. Any value.",
        "schema": _TEXT,
    },
    "If-Match": {"description": "Only if the profile still has one of these tags.", "schema": _TEXT},
    "If-None-Match": {"description": "Answers 304 if the profile has one of these tags.", "schema": _TEXT},
}

RESPONSE_HEADERS: dict[str, dict[str, Any]] = {
    "X-Request-Id": {"description": "The request's id: the caller's own, or a new one.", "schema": _TEXT},
    "Vestnik-Position": {
        "description": "Of a write: send it with a read to see the write. Of a list: the position that its data "
        "reflects.",
        "schema": _POSITION,
    },
    "X-Accel-Buffering": {"description": "`no`: a proxy forwards each event immediately.", "schema": _TEXT},
    "Set-Cookie": {"description": "Refresh token and device token, where no script can read them.", "schema": _TEXT},
    "Vestnik-Device-Token": {
        "description": "Send it as `device_token` with the next login from this device.",
        "schema": _TEXT,
    },
    "ETag": {"description": "Changes whenever the profile does.", "schema": _TEXT},
    "Cache-Control": {"description": "How long it may be cached, and by whom.", "schema": _TEXT},
    "Vary": {
        "description": "`Vestnik-Position`: a cached response is not used for a request with a position.",
        "schema": _TEXT,
    },
    "Retry-After": {"description": "Seconds to wait before trying again.", "schema": {"type": "integer", "minimum": 1}},
    "WWW-Authenticate": {"description": "`Bearer`.", "schema": _TEXT},
    "RateLimit-Policy": {
        "description": "The limits of this route: `q` requests in `w` seconds.",
        "schema": _TEXT,
        "example": '"login";q=120;w=60',
    },
    "RateLimit": {
        "description": "The caller's state: `r` requests are left, and `t` seconds pass until there are more.",
        "schema": _TEXT,
        "example": '"login";r=119;t=1',
    },
}
